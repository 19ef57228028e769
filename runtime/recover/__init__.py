"""What happens after a report: diagnosis, bounded attempts, verified hand-back."""
