"""What a daemon does for the commands that concern an overlay."""

from __future__ import annotations

from oxenfs.mount.operations import Usage
from oxenfs.mount.served import Served
from oxenfs.mount.writing import WritingOperations
from oxenfs.views.overlay import Overlay
from oxenfs.views.stack import Stack


def serve_overlay(built: Stack, overlay: Overlay, usage: Usage) -> Served:
    """Return what a daemon serves for a mount with an overlay."""
    operations = WritingOperations(built.root, overlay, usage, built.background)
    return Served(operations, built.facts, built.close, {})
