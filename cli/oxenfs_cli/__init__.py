"""The commands `oxenfs` and `oxen`: parse, call, print."""
