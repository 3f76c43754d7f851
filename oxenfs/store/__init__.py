"""What was read from a remote, verified, and kept."""
