"""Frames and arrays of videos: what a SPEC means, and decoding in child processes."""
