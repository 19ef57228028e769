"""regrasp."""
