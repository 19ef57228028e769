"""residual."""
