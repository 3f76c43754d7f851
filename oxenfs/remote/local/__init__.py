"""A repository in a folder: the embedded remote that needs no server and no network."""
