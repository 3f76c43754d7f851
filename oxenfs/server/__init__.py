"""Local repositories over the HTTP API of an Oxen server."""
