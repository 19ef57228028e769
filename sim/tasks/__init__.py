"""The tasks, one readable file each."""
