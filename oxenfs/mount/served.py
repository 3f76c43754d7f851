"""What a daemon is given to serve. Imports nothing heavy: commands make these too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import trio

    from oxenfs.mount.control import Command
    from oxenfs.views.plan import Facts


class Servable(Protocol):
    """A `pyfuse3.Operations` with the life cycle of a daemon around it.

    Attributes:
        on_ready: to be called from `init()`, when the kernel's first request is being answered.
    """

    on_ready: Callable[[], None]

    def attach(self, nursery: trio.Nursery) -> None:
        """Take the nursery for tasks of its own. Called once, before the first request."""

    def detach(self) -> None:
        """Use the session with the kernel no more: it is about to end. Called in the loop."""

    def close(self) -> None:
        """Let go of everything. Called when no request can come any more."""


class Shown:
    """What a mount shows now, and who wants to know when that changes. Used from one loop.

    Attributes:
        facts: of the commit that is shown.
    """

    def __init__(self, facts: Facts) -> None:
        """Begin with `facts`."""
        self.facts = facts
        self._listeners: list[Callable[[Facts], None]] = []

    def listen(self, listener: Callable[[Facts], None]) -> None:
        """Call `listener` at each change."""
        self._listeners.append(listener)

    def change(self, facts: Facts) -> None:
        """Show `facts` from now on, and tell."""
        self.facts = facts
        for listener in self._listeners:
            listener(facts)


@dataclass(frozen=True, slots=True)
class Served:
    """Everything that one daemon serves.

    Attributes:
        facts: what is shown at first, for the registry and for messages.
        close: called last, after `operations.close`.
        commands: for the control socket, beside `info`, `stop` and `release`.
        shown: what is shown now; None: always `facts`.
        arrive: called in a thread when the kernel's first request is answered, as the last step of
            a mount that succeeds; blocks, raises `OxenfsError`. None: nothing is left to do.
    """

    operations: Servable
    facts: Facts
    close: Callable[[], None]
    commands: Mapping[str, Command] = field(default_factory=dict)
    shown: Shown | None = None
    arrive: Callable[[], None] | None = None


Build = Callable[[], Served]
"""Opens what is to be served; runs in the daemon, blocks, raises `OxenfsError`."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the kernel is to mount.

    Attributes:
        allow_other: other users may enter too, with the rights that modes and owners give them.
        writable: programs may change things.
    """

    allow_other: bool = False
    writable: bool = False


def address_of(facts: Facts) -> str:
    """Return what is mounted as `REPO@REV`, as a user would type it."""
    return facts.repo if facts.revision is None else f"{facts.repo}@{facts.revision}"
