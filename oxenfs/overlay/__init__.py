"""Changes on top of a commit, kept on disk until they are committed or dropped."""
