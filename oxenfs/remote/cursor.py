"""Looks up many paths in one commit's tree, in tree order: whichever remote the tree is from."""

from __future__ import annotations

from collections.abc import Callable

from oxenfs.model import Kind, ObjectHash
from oxenfs.remote.base import DirectoryNodes, TreePlace
from oxenfs.remote.payloads import DIRECTORY, FILE
from oxenfs.remote.rows import rows_of

FILE_IN_THE_WAY = -1

Found = tuple[int, ObjectHash] | None
"""Type and hash of what is at a path, or of the file that it would lie below; None: nothing."""


class TreeCursor:
    """Quick when paths come in tree order: holds the directories on the way to the last one."""

    def __init__(
        self,
        directory: Callable[[ObjectHash, TreePlace], DirectoryNodes],
        commit: ObjectHash,
        root: ObjectHash,
    ) -> None:
        """Look below `root`, the root directory of `commit`; `directory` is a remote's."""
        self._directory = directory
        self._commit = commit
        self._names: list[bytes] = []
        self._levels = [self._entries(root, [])]

    def entry(self, path: bytes) -> Found:
        """Return what is at `path`; a file in its way counts as being there."""
        *folders, name = path.split(b"/")
        common = 0
        while common < min(len(folders), len(self._names)):
            if folders[common] != self._names[common]:
                break
            common += 1
        del self._names[common:], self._levels[common + 1 :]
        for folder in folders[common:]:
            found = self._levels[-1].get(folder)
            if found is None:
                return None
            if found[0] == FILE:
                # A type of its own, or it would pass for a file at `path` with the same bytes.
                return FILE_IN_THE_WAY, found[1]
            # Read first: where that fails, names and levels must still belong together.
            level = self._entries(found[1], [*self._names, folder])
            self._names.append(folder)
            self._levels.append(level)
        return self._levels[-1].get(name)

    def _entries(self, id: ObjectHash, names: list[bytes]) -> dict[bytes, tuple[int, ObjectHash]]:
        nodes = self._directory(id, TreePlace(self._commit, b"/".join(names)))
        return {
            row.name: (DIRECTORY if row.kind == Kind.DIRECTORY else FILE, row.id)
            for row in rows_of(nodes)
        }
