"""Repositories made by the official client, in a process of its own: it holds the GIL.

python official.py REPOSITORY
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FILES = {
    "a.txt": "hello\nünï\n".encode(),
    "empty.txt": b"",
    "no-extension": b"\0\xff\xfe",
    "table.csv": b"name,size\nx,1\ny,22\n",
    "lines.jsonl": b'{"a": 1}\n{"a": 2}\n',
    "deep/er/and/deeper.bin": bytes(range(256)) * 5000,
    "ünï/ß.md": "# ß\n".encode(),
} | {f"many/{n:03}.txt": b"%d" % n for n in range(120)}
"""What the first commit has, besides `image.png`."""


class Made(NamedTuple):
    """A repository of the official client.

    Attributes:
        commits: ids in hex, newest first.
    """

    root: Path
    commits: list[str]


def make(folder: Path) -> Made:
    """Make a repository with a merge in a new process, and a configuration of its own."""
    root = folder / "repository"
    environment = {
        **os.environ,
        "HOME": str(folder),
        "OXEN_CONFIG_DIR": str(folder / "config"),
    }
    # -P: the folder of this script must not hide modules of the standard library.
    command = [sys.executable, "-P", __file__, str(root)]
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    if ended.returncode:
        raise RuntimeError(ended.stderr)
    return Made(root, ended.stdout.split("commits: ")[1].split())


def raw_nodes(root: Path) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield id, node and children of all nodes of a repository that nobody writes to."""
    import lmdb

    # Without the lock: the official client's LMDB has another format of lock files.
    with lmdb.open(
        str(root / ".oxen/tree/nodes_lmdb"),
        readonly=True,
        lock=False,
        create=False,
        max_dbs=4,
        map_size=16 << 30,
    ) as env:
        nodes = env.open_db(b"nodes", create=False)
        with env.begin(db=nodes) as txn:
            for key, value in txn.cursor():
                if key[16] == 0:
                    children = txn.get(key[:16] + b"\1")
                    assert children is not None
                    yield int.from_bytes(key[:16], "little"), bytes(value), bytes(children)


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress((b"\0" + bytes(3 * width)) * height)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def _main(root: Path) -> None:
    from oxen import Repo
    from oxen.user import config_user

    config_user("Ünï Person", "person@example.com")
    repo = Repo(str(root))
    repo.init()

    def commit(message: str, **files: bytes) -> None:
        for name, data in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        repo.add(str(root))
        repo.commit(message)

    commit("first", **FILES, **{"image.png": _png(7, 5)})
    commit("second, ünï", **{"a.txt": b"changed\n", "deep/new.md": b"# new\n"})
    repo.checkout("side", create=True)
    commit("on side", **{"side.txt": b"side"})
    repo.checkout("main")
    commit("on main", **{"main.txt": b"main"})
    repo.merge("side")
    print("commits:", *(commit.id for commit in repo.log()))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
