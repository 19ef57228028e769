"""Episodes on disk: written step by step, read back exactly, computed again."""
