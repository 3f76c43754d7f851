"""Says what a daemon is to serve, without the modules that serve it.

Commands name `build`, and a process that waits (`oxenfs.mount.spare`) is told to call it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oxenfs.mount.served import Served
    from oxenfs.views.plan import Plan


def build(plan: Plan, follow_s: float | None) -> Served:
    """Open what `plan` says and return what serves it: `oxenfs.mount.assembly.assemble`."""
    from oxenfs.mount.assembly import assemble

    return assemble(plan, follow_s)
