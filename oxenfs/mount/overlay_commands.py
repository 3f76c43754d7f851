"""What a daemon does for the commands that concern an overlay."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from oxenfs.errors import UsageError
from oxenfs.model import Author, hash_text
from oxenfs.mount.committing import Committer
from oxenfs.mount.control import Command, Send
from oxenfs.mount.data_commands import data_commands
from oxenfs.mount.frames import frame_commands
from oxenfs.mount.operations import Usage
from oxenfs.mount.served import Served
from oxenfs.mount.writing import WritingOperations
from oxenfs.overlay.changeset import Left
from oxenfs.overlay.item import to_columns
from oxenfs.views.overlay import Overlay
from oxenfs.views.stack import Stack

_ITEMS_IN_LINE = 1000


def serve_overlay(built: Stack, overlay: Overlay, usage: Usage) -> Served:
    """Return what a daemon serves for a mount with an overlay."""
    operations = WritingOperations(built.root, overlay, usage, built.background)
    committer = Committer(built, overlay, operations)
    operations.run_beside(committer.collect_garbage)
    commands = {
        **data_commands(built.supply, lambda: operations.inodes.root),
        **frame_commands(lambda: built.videos(operations.inodes.root)),
        **_commands(built, committer),
    }
    shown = committer.mover.shown
    return Served(operations, built.facts, built.close, commands, shown, built.arrive)


def _commands(built: Stack, committer: Committer) -> dict[str, Command]:
    async def status(request: Mapping[str, Any], send: Send) -> Any:
        remote = built.supply.impatient()
        items = await committer.status(remote, sizes=bool(request.get("sizes", True)))
        # A line has a limit; 100,000 changes have not.
        for start in range(0, len(items), _ITEMS_IN_LINE):
            await send(to_columns(items[start : start + _ITEMS_IN_LINE]))
        return await committer.facts(remote)

    async def count(request: Mapping[str, Any], send: Send) -> Any:
        items = await committer.status(built.supply.impatient(), sizes=False)
        return sum(not item.ignored for item in items)

    async def commit(request: Mapping[str, Any], send: Send) -> Any:
        author = Author(str(request["name"]), str(request["email"]))
        branch = request.get("branch")
        done = await committer.commit(
            str(request["message"]),
            author,
            None if branch is None else str(branch),
            send,
            skip=bool(request.get("skip")),
        )
        published = done.published
        return {
            "commit": hash_text(published.commit),
            "branch": published.branch,
            "files": published.files,
            "uploaded_files": published.uploaded_files,
            "uploaded_bytes": published.uploaded_bytes,
            **left_json(done.left),
        }

    async def restore(request: Mapping[str, Any], send: Send) -> Any:
        return await committer.restore(_paths(request.get("paths")))

    async def pull(request: Mapping[str, Any], send: Send) -> Any:
        keep = request.get("keep")
        if keep not in (None, "mine", "theirs"):
            raise UsageError("--keep takes mine or theirs")
        return await committer.pull(keep, _paths(request.get("paths") or []))

    async def checkout(request: Mapping[str, Any], send: Send) -> Any:
        return await committer.checkout(request.get("rev"), request.get("new_branch"))

    return {
        "status": Command(status, math.inf),
        "changes": Command(count, math.inf),
        "commit": Command(commit, math.inf),
        "restore": Command(restore, math.inf),
        "pull": Command(pull, math.inf),
        "checkout": Command(checkout, math.inf),
    }


def left_json(left: Left) -> dict[str, Any]:
    """Return what a commit left out."""
    return {
        "unsupported": [[os.fsdecode(path), why] for path, why in left.unsupported],
        "ignored": [os.fsdecode(path) for path in left.ignored],
        "executable": [os.fsdecode(path) for path in left.executable],
    }


def _paths(words: Sequence[Any] | None) -> list[bytes]:
    return [os.fsencode(str(word)) for word in words or ()]
