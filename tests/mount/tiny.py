"""A tiny constant file system, and a command that mounts it: the life of a mount without a tree.

`python -m tests.mount.tiny DIR [options]` does what `oxenfs mount` does, with this inside. Files:

- `hello`: reads at once;
- `sub/deep`: the same;
- `slow`: a read never ends, and can be cancelled;
- `stuck`: a read blocks a thread that cannot be cancelled;
- `crash`: a read raises what no handler may raise.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from oxenfs.errors import NotFound, OxenfsError
from oxenfs.model import Author, Commit, ObjectHash
from oxenfs.mount import daemon
from oxenfs.mount.served import Options, Served
from oxenfs.views.plan import Facts

if TYPE_CHECKING:
    from oxenfs.mount.daemon import Started

HELLO = b"hello\n"
COMMIT = ObjectHash(0xABCDEF0123456789)

_ROOT, _SUB = 1, 2
FILES = {b"hello": 10, b"slow": 11, b"stuck": 12, b"crash": 13}
_TREE = {_ROOT: {**FILES, b"sub": _SUB}, _SUB: {b"deep": 20}}


def note_read(fh: int) -> None:
    """Tell the test that a read has arrived."""
    with Path(os.environ["OXENFS_TEST_READS"]).open("a") as log:
        log.write(f"{fh}\n")


def serve_tiny(child_log: str | None) -> Served:
    """Return the file system; imports pyfuse3, so it is for the process that serves."""
    import pyfuse3
    import trio

    class Tiny(pyfuse3.Operations):
        supports_dot_lookup = False

        def __init__(self) -> None:
            super().__init__()
            self.on_ready: Callable[[], None] = lambda: None

        def init(self) -> None:
            self.on_ready()

        def detach(self) -> None:
            pass

        def attach(self, nursery: trio.Nursery) -> None:
            if child_log is not None:
                # A child started while mounted: it must not hold the device.
                script = f"ls -l /proc/self/fd > {child_log}.part; mv {child_log}.part {child_log}"
                nursery.start_soon(trio.run_process, ["sh", "-c", script])

        def close(self) -> None:
            pass

        def _entry(self, inode: int) -> pyfuse3.EntryAttributes:
            entry = pyfuse3.EntryAttributes()
            entry.st_ino = inode
            directory = inode in _TREE
            entry.st_mode = stat.S_IFDIR | 0o555 if directory else stat.S_IFREG | 0o444
            entry.st_size = 0 if directory else len(HELLO)
            entry.st_uid, entry.st_gid = os.geteuid(), os.getegid()
            entry.entry_timeout = entry.attr_timeout = 1e6
            return entry

        async def getattr(self, inode, ctx):  # type: ignore[no-untyped-def]
            return self._entry(inode)

        async def lookup(self, parent_inode, name, ctx):  # type: ignore[no-untyped-def]
            inode = _TREE.get(parent_inode, {}).get(name)
            if inode is None:
                raise pyfuse3.FUSEError(errno.ENOENT)
            return self._entry(inode)

        async def opendir(self, inode, ctx):  # type: ignore[no-untyped-def]
            return inode

        async def readdir(self, fh, start_id, token):  # type: ignore[no-untyped-def]
            rows = sorted(_TREE[fh].items())
            for number, (name, inode) in enumerate(rows[start_id:], start_id + 1):
                if not pyfuse3.readdir_reply(token, name, self._entry(inode), number):
                    return

        async def open(self, inode, flags, ctx):  # type: ignore[no-untyped-def]
            return pyfuse3.FileInfo(fh=inode)

        async def read(self, fh, off, size):  # type: ignore[no-untyped-def]
            note_read(fh)
            if fh == FILES[b"slow"]:
                await trio.sleep_forever()
            if fh == FILES[b"stuck"]:
                await trio.to_thread.run_sync(time.sleep, 30)
            if fh == FILES[b"crash"]:
                raise ValueError("a bug in a handler")
            return HELLO[off : off + size]

    author = Author("a", "a@example.com")
    commit = Commit(COMMIT, (), author, "message", 0)
    facts = Facts("/data/tiny", "main", "main", commit, size_bytes=3 * len(HELLO), files=5)
    return Served(Tiny(), facts, lambda: None)


def main() -> int:
    """Mount, as the command line says; print what was started as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dir", type=Path)
    parser.add_argument("--foreground", action="store_true")
    parser.add_argument("--allow-other", action="store_true")
    parser.add_argument("--repo", default="/data/tiny")
    parser.add_argument("--build", choices=["fail", "die", "bug", "twice", "wait"])
    parser.add_argument("--child-log")
    arguments = parser.parse_args()

    def build() -> Served:
        if arguments.build == "fail":
            raise NotFound("no revision 'mian' here; there is 'main'")
        if arguments.build == "die":
            os.kill(os.getpid(), 9)
        if arguments.build == "bug":
            raise ZeroDivisionError("a bug")
        if arguments.build == "wait":
            while not Path(os.environ["HOME"], "go").exists():
                time.sleep(0.01)
        served = serve_tiny(arguments.child_log)
        if arguments.build == "twice":
            from oxenfs.mount import kernel

            kernel._initialised = True
        return replace(served, facts=replace(served.facts, repo=arguments.repo))

    def print_started(started: Started) -> None:
        print(json.dumps(asdict(started)), flush=True)

    options = Options(allow_other=arguments.allow_other)
    try:
        if arguments.foreground:
            daemon.run(arguments.dir, build, options, print_started)
        else:
            print_started(daemon.start(arguments.dir, build, options))
    except OxenfsError as exc:
        print(f"{type(exc).__name__}: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
