"""What becomes of the nodes of a layer that is written anew: on another commit, or emptied."""

from __future__ import annotations

from dataclasses import dataclass, field

from oxenfs.overlay.nodes import Nid

EDITS_AT_ONCE = 2000
"""How many edits one record of the journal takes."""


@dataclass(slots=True)
class Outcome:
    """What became of the nodes.

    Attributes:
        dropped: nodes that are not in the layer any more.
        returned: those of them that are folders which stay where they are, as the commit's.
        revived: those of them whose origin the commit still has, as it was.
        names: where entries are seen differently now: folder and name.
        revealed: those of them where what the commit has is seen now.
        touched: folders that stay, and whose attributes are different now.
        turned: folders through which another folder of the commit shows now, or none, and which
            one did before.
        garbage: files of bytes that nothing refers to any more.
        conflicts: paths that stay changed and that others changed too.
        incomplete: files that need bytes, and folders that need entries, which the new commit does
            not have where they look for them; with any of these, the rest is of no use.
    """

    dropped: set[Nid] = field(default_factory=set)
    returned: set[Nid] = field(default_factory=set)
    revived: set[Nid] = field(default_factory=set)
    names: list[tuple[Nid, bytes]] = field(default_factory=list)
    revealed: list[tuple[Nid, bytes]] = field(default_factory=list)
    touched: list[Nid] = field(default_factory=list)
    turned: list[tuple[Nid, bytes]] = field(default_factory=list)
    garbage: list[Nid] = field(default_factory=list)
    conflicts: list[bytes] = field(default_factory=list)
    incomplete: list[Nid] = field(default_factory=list)
