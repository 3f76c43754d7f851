"""The kernel side: pyfuse3 handlers, inodes, handles, the life of a mount."""
