"""What a daemon serves for a plan: the view, the handlers over it, and the commands that it takes.

All that every mount needs is imported with this module; what only some need, where it is used.
"""

from __future__ import annotations

from functools import partial

from oxenfs.mount.data_commands import data_commands
from oxenfs.mount.frames import frame_commands
from oxenfs.mount.moving import Mover
from oxenfs.mount.operations import Operations, Usage
from oxenfs.mount.served import Served
from oxenfs.views import stack
from oxenfs.views.plan import Plan


def assemble(plan: Plan, follow_s: float | None) -> Served:
    """Open what `plan` says and return what serves it.

    Args:
        plan: what to show.
        follow_s: how often to ask where the branch is, None for never.

    Raises:
        OxenfsError: no such repository or revision, or it does not answer.
    """
    built = stack.build(plan)
    usage = Usage(built.facts.size_bytes, built.facts.files)
    if built.overlay is not None:
        from oxenfs.mount.overlay_commands import serve_overlay

        return serve_overlay(built, built.overlay, usage)
    operations = Operations(built.root, usage)
    if built.supply.fetched is not None:
        operations.give_ahead(built.supply.fetched)
    mover = Mover(built, operations)
    operations.run_beside(built.background)
    if follow_s is not None and not plan.offline:
        operations.run_beside(partial(mover.follow, follow_s))
    commands = {
        **mover.commands(),
        **data_commands(built.supply, lambda: operations.inodes.root),
        **frame_commands(lambda: built.videos(operations.inodes.root)),
    }
    return Served(operations, built.facts, built.close, commands, mover.shown)
