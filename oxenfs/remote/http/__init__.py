"""A repository on a hub or an oxen-server, over HTTP."""
