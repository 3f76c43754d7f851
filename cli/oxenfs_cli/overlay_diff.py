"""`oxenfs diff` without two commits: what the changes in a mount are, line by line."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from oxenfs_cli.diff import print_line
from oxenfs_cli.output import is_terminal, print_json, print_text, printable, size_text

if TYPE_CHECKING:
    from oxenfs.overlay.item import Shown
    from oxenfs.overlay.lower import LowerTree
    from oxenfs.remote.rows import Row
    from oxenfs.textdiff import Text

_COLOURS = {"+": "32", "-": "31", "@": "36"}


def show_changes(words: tuple[str, ...], directory: Path | None, *, as_json: bool) -> None:
    """Print the changes in the mount that `words` are about: of text line by line, or as JSON."""
    from oxenfs.errors import RemoteUnavailable
    from oxenfs.model import parse_hash
    from oxenfs.overlay.lower import LowerTree
    from oxenfs_cli.overlays import cache_of, changes_of, overlay_mount, repository
    from oxenfs_cli.status import concerns

    found = overlay_mount(words, directory)
    mount = found.mount
    assert mount is not None
    items, facts = changes_of(mount)
    items = [item for item in items if not item.ignored]
    if found.paths:
        items = [item for item in items if concerns(item, found.paths)]
    missing: RemoteUnavailable | None = None
    with repository(mount.repo, cache_of(mount)) as (remote, records):
        lower = LowerTree(remote, records, parse_hash(facts["commit"]))
        if as_json:
            print_json(_rows(items, lower))
            return
        for item in items:
            try:
                _print(item, mount.dir, lower)
            except RemoteUnavailable as exc:
                # What can be shown without a server is.
                missing = exc
                print_text(f"{item.op} {printable(item.path)}")
    if missing is not None:
        raise missing


def _rows(items: list[Shown], lower: LowerTree) -> list[dict[str, object]]:
    """Return what `diff A..B --json` has of files; what is renamed has its `old` path as well."""
    from oxenfs.model import tree_order

    rows: list[dict[str, object]] = []
    for item in sorted(items, key=lambda item: tree_order(os.fsencode(item.path))):
        stood = item.base if item.old is None else item.old
        size = None if stood is None else _size(lower.row(os.fsencode(stood)))
        row: dict[str, object] = {
            "op": item.op,
            "path": item.path,
            "old_size": size,
            "size": item.size,
        }
        rows.append(row if item.old is None else {**row, "old": item.old})
    return rows


def _size(row: Row | None) -> int | None:
    from oxenfs.model import Kind

    return None if row is None or row.kind == Kind.DIRECTORY else row.size


def _print(item: Shown, directory: Path, lower: LowerTree) -> None:
    """Print a change, or nothing if that fails."""
    from oxenfs.textdiff import NO_FILE, unified

    if item.op == "R":
        print_text(f"renamed {printable(item.old or '')} -> {printable(item.path)}")
        return
    base = None if item.base is None else os.fsencode(item.base)
    row = None if base is None else lower.row(base)
    old = _old(lower, row, base)
    new = _new(None if item.op == "D" else directory / item.path)
    lines = None
    if old is not None and new is not None:
        one = NO_FILE if base is None else b"a/" + base
        other = NO_FILE if item.op == "D" else b"b/" + os.fsencode(item.path)
        lines = unified(one, other, old, new)
    if lines is None:
        sizes = [row.size if row is not None else None, item.size]
        facts = " -> ".join(size_text(size) for size in sizes if size is not None)
        print_text(f"{item.op} {printable(item.path)}: {facts}")
        return
    terminal = is_terminal(1)
    for line in lines:
        colour = _COLOURS.get(line[:1]) if terminal else None
        if colour:
            print_text(f"\x1b[{colour}m{printable(line)}\x1b[0m")
        else:
            print_line(line, printable if terminal else str)


def _old(lower: LowerTree, row: Row | None, path: bytes | None) -> Text | None:
    from oxenfs.comparing import text_at
    from oxenfs.textdiff import Whole

    if path is None:
        return Whole(b"")
    return None if row is None else text_at(lower.remote, lower.commit, row, path)


def _new(path: Path | None) -> Text | None:
    from oxenfs.comparing import TEXT_BYTES_MAX
    from oxenfs.textdiff import Whole

    if path is None:
        return Whole(b"")
    if path.is_symlink() or not path.is_file() or path.stat().st_size > TEXT_BYTES_MAX:
        return None
    return _FileText(path, path.stat().st_size)


@dataclass(frozen=True, slots=True)
class _FileText:
    """A file on disk as a text."""

    path: Path
    size: int

    def read(self, offset: int, size: int) -> bytes:
        """Return a range."""
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
