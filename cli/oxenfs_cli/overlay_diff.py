"""`oxenfs diff` without two commits: what the changes in a mount are, line by line."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oxenfs_cli.output import is_terminal, print_text, printable, size_text

if TYPE_CHECKING:
    from oxenfs.remote.base import Remote
    from oxenfs.remote.revision import Revision

# Whoever wants to see more of a text has another tool for it; comparing takes its square.
_TEXT_BYTES_MAX = 8 << 20
_COLOURS = {"+": "32", "-": "31", "@": "36"}


def show_changes(words: tuple[str, ...], directory: Path | None) -> None:
    """Print the changes in the mount that `words` are about: of text line by line."""
    from oxenfs_cli.overlays import changes_of, overlay_mount

    found = overlay_mount(words, directory)
    mount = found.mount
    assert mount is not None
    items, _ = changes_of(mount)
    wanted = [os.fsdecode(path) for path in found.paths]
    if wanted:
        items = [i for i in items if any(f"{i['path']}/".startswith(f"{w}/") for w in wanted)]
    from oxenfs_cli.target import find

    remote, revision = find((str(mount.dir),), None).open()
    try:
        for item in items:
            if not item["ignored"]:
                _print(item, mount.dir, remote, revision)
    finally:
        remote.close()


def _print(item: dict[str, Any], directory: Path, remote: Remote, revision: Revision) -> None:
    path = item["path"]
    if item["op"] == "R":
        print_text(f"renamed {printable(item['old'])} -> {printable(path)}")
        return
    base = item["base"]
    old = b"" if base is None else _old(remote, revision, os.fsencode(base))
    new = b"" if item["op"] == "D" else _new(directory / path)
    if old is None or new is None or b"\0" in old[:8192] or b"\0" in new[:8192]:
        before = "" if base is None else size_text(_old_size(remote, revision, base))
        after = "" if item["size"] is None else size_text(item["size"])
        print_text(f"{item['op']} {printable(path)}: {before} -> {after}".replace(":  -> ", ": "))
        return
    one = f"a/{base}" if base is not None else "/dev/null"
    two = f"b/{path}" if item["op"] != "D" else "/dev/null"
    for line in _unified(_lines(old), _lines(new), printable(one), printable(two)):
        colour = _COLOURS.get(line[:1]) if is_terminal(1) else None
        text = printable(line)
        print_text(f"\x1b[{colour}m{text}\x1b[0m" if colour else text)


def _unified(old: list[str], new: list[str], one: str, two: str) -> Iterator[str]:
    """Yield a unified diff; what is equal at both ends costs no comparison."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    before, after = max(start - 3, 0), max(end - 3, 0)
    lines = difflib.unified_diff(
        old[before : len(old) - after], new[before : len(new) - after], one, two, lineterm=""
    )
    for line in lines:
        if line.startswith("@@") and before:
            yield _shifted(line, before)
        else:
            yield line


def _shifted(header: str, by: int) -> str:
    def moved(part: str) -> str:
        number, comma, rest = part[1:].partition(",")
        return f"{part[0]}{int(number) + by}{comma}{rest}"

    _, old, new, _ = header.split(" ")
    return f"@@ {moved(old)} {moved(new)} @@"


def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8", "surrogateescape").splitlines()


def _old(remote: Remote, revision: Revision, path: bytes) -> bytes | None:
    from oxenfs.history import read_file
    from oxenfs.remote.rows import find_row

    row = find_row(remote, revision.commit.id, path)
    if row is None or row.size > _TEXT_BYTES_MAX:
        return None
    return b"".join(read_file(remote, revision.commit, path))


def _old_size(remote: Remote, revision: Revision, path: str) -> int:
    from oxenfs.remote.rows import find_row

    row = find_row(remote, revision.commit.id, os.fsencode(path))
    return 0 if row is None else row.size


def _new(path: Path) -> bytes | None:
    if not path.is_file() or path.is_symlink() or path.stat().st_size > _TEXT_BYTES_MAX:
        return None
    return path.read_bytes()
