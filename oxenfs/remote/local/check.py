"""Recomputes what a local repository says about itself: the lines that `fsck` prints.

First the index is read whole in a process of its own, then every blob, then commits and trees,
each node once. Memory: some 100 bytes per blob, 1 KB per folder. A repository may be published to
meanwhile.
"""

from __future__ import annotations

import contextlib
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from oxenfs.errors import AccessDenied, IntegrityError, NotFound, OxenfsError, UsageError
from oxenfs.kv import Environment
from oxenfs.model import ObjectHash, hash_text, parse_hash
from oxenfs.remote.changes import check_branch_name
from oxenfs.remote.hashing import commit_id
from oxenfs.remote.local.blobs import Blobs
from oxenfs.remote.local.check_blobs import bad_blobs
from oxenfs.remote.local.check_trees import TreeCheck
from oxenfs.remote.local.layout import TABLES, Layout, bare_layout, read_layout
from oxenfs.remote.local.nodes import Nodes
from oxenfs.remote.local.refs import Refs
from oxenfs.remote.payloads import DIRECTORY
from oxenfs.remote.wire import decode_node

Progress = Callable[[int, int], None]
"""Called with the number of objects and of blob bytes checked so far."""

_HASH = re.compile("[0-9a-f]{1,32}")
_DENIED = 3
_PROBE = "import sys; from oxenfs.remote.local.check import probe; probe(sys.argv[1])"


def check(path: Path, progress: Progress | None = None) -> Iterator[str]:
    """Yield a line for each thing that is wrong in the repository at `path`; none if it is sound.

    Raises:
        NotFound: there is no repository.
        AccessDenied: no permission.
    """
    try:
        layout = read_layout(path)
    except IntegrityError as exc:
        yield str(exc)
        # What is in the repository needs none of it: it may be whole, and is to be rescued.
        layout = bare_layout(path)
    if trouble := _trouble_with_index(layout):
        yield trouble
        return
    meta = layout.open_meta()
    try:
        yield from _Check(layout, meta, progress).run()
    finally:
        meta.close()


def probe(root: str) -> None:
    """Read every record of the index of the repository at `root`; exit with a line if that fails.

    Run in a process of its own: LMDB follows pointers in damaged pages, and may crash over it.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        meta = bare_layout(Path(root)).open_meta()
        with meta.read() as txn:
            for table in TABLES:
                last = b""
                for key in txn.keys(table):
                    if key <= last:
                        raise IntegrityError(f"the index in {meta.path} is damaged: it goes round")
                    last = key
                    # A broken seal is told later, with the path that needs the record.
                    with contextlib.suppress(IntegrityError):
                        txn.get(table, key)
    except AccessDenied as exc:
        print(exc, file=sys.stderr)
        sys.exit(_DENIED)
    except OxenfsError as exc:
        sys.exit(str(exc))


def _trouble_with_index(layout: Layout) -> str | None:
    command = [sys.executable, "-c", _PROBE, str(layout.root)]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if ended.returncode == 0:
        return None
    index = layout.root / "meta"
    if ended.returncode < 0:
        name = signal.Signals(-ended.returncode).name
        return f"the index in {index} is damaged: reading it ends the process ({name})"
    lines = ended.stderr.decode("utf-8", "replace").strip().splitlines()
    line = lines[-1] if lines else f"the index in {index} cannot be read"
    if ended.returncode == _DENIED:
        raise AccessDenied(line)
    return line


class _Check:
    def __init__(self, layout: Layout, meta: Environment, progress: Progress | None) -> None:
        self._layout = layout
        self._meta = meta
        self._progress = progress
        self._nodes = Nodes(meta)
        self._refs = Refs(meta, self._nodes)
        self._objects = 0
        self._bytes = 0

    def run(self) -> Iterator[str]:
        blobs = Blobs(self._layout, self._meta)
        bad = bad_blobs(self._meta, blobs, self._done)
        heads = yield from self._heads()
        # After the heads, so that every commit that these build on is listed.
        with self._meta.read() as txn:
            listed = [key.decode("ascii", "backslashreplace") for key in txn.keys("commits")]
        commits = {parse_hash(text) for text in listed if _HASH.fullmatch(text)}
        yield from (
            f"the list of commits has {text!r}" for text in listed if not _HASH.fullmatch(text)
        )
        trees = TreeCheck(self._nodes, blobs, commits, bad, self._done)
        waiting = [(id, "the list of commits") for id in commits]
        waiting += reversed(heads)
        seen: set[ObjectHash] = set()
        while waiting:
            id, wanted_by = waiting.pop()
            if id in seen:
                continue
            seen.add(id)
            try:
                commit = self._refs.commit(id)
                roots = decode_node(self._nodes.get(id)).children
            except (NotFound, IntegrityError) as exc:
                yield f"commit {hash_text(id)}, named by {wanted_by}: {exc}"
                continue
            self._done()
            if commit_id(commit.parents, commit.message, commit.author, commit.timestamp_ns) != id:
                yield f"commit {hash_text(id)}: its id is not the hash of what it says"
            if [root.type for root in roots] != [DIRECTORY]:
                yield f"commit {hash_text(id)}: it does not have one root folder"
            else:
                yield from trees.check(roots[0], commit)
            waiting += [(id, f"commit {hash_text(commit.id)}") for id in reversed(commit.parents)]
        for key in sorted(bad.keys() - trees.told_blobs):
            yield f"blob {hash_text(int.from_bytes(key, 'little'))} {bad[key]}; no commit needs it"

    def _heads(self) -> Generator[str, None, list[tuple[ObjectHash, str]]]:
        """Yield problems; return the commits that branches are at, and who says so.

        The default branch first: a problem is told with the first commit that shows it.
        """
        with self._meta.read() as txn:
            names = [key.decode("utf-8", "backslashreplace") for key in txn.keys("refs")]
        default = self._layout.default_branch
        # Empty: the config file is damaged, and that was said.
        if default and default not in names:
            yield f"the default branch {default!r} is missing"
        heads = []
        for name in sorted(names, key=lambda name: (name != default, name)):
            try:
                check_branch_name(name)
                heads.append((self._refs.branch(name).commit, f"branch {name!r}"))
            except (UsageError, IntegrityError, NotFound) as exc:
                yield f"branch {name!r}: {exc}"
        return heads

    def _done(self, size: int = 0) -> None:
        self._objects += 1
        self._bytes += size
        if self._progress is not None:
            self._progress(self._objects, self._bytes)
