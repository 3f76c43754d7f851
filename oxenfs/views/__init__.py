"""Directories as a mount shows them. Features wrap a `Directory`."""
