"""Where the folders of a layer were when it was published."""

from __future__ import annotations

from collections.abc import Iterable

from oxenfs.overlay.nodes import Nid


class Placed:
    """Folders of a layer that was published, by number and by path.

    Attributes:
        below: from here on nodes are newer.
        paths: of the folders that were published.
    """

    def __init__(self, below: Nid = 0, paths: Iterable[tuple[Nid, bytes]] = ()) -> None:
        """Know `paths`; without any, nothing was published."""
        self.below = below
        self.paths = dict(paths)
        self._nids = {path: nid for nid, path in self.paths.items()}

    def path(self, nid: Nid) -> bytes | None:
        """Return where a folder was; None if it was not, or was left out."""
        return self.paths.get(nid)

    def at(self, path: bytes) -> Nid | None:
        """Return which folder was at `path`."""
        return self._nids.get(path)

    def is_left_out(self, nid: Nid) -> bool:
        """Return whether a folder was there and was not published."""
        return nid < self.below and nid not in self.paths
