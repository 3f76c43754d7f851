"""Mounts as `oxenfs mount --foreground` does, and counts the requests of the kernel.

`python -m semantics.counting [--revisions] REPOSITORY DIR`; a file named `held` is read
when `$HOME/go` is there; each `statfs` writes the counts so far into `$HOME/counts.json`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import trio

from oxenfs import places
from oxenfs.address import parse
from oxenfs.mount import daemon
from oxenfs.mount.served import Options, Served
from oxenfs.views import stack
from oxenfs.views.plan import Plan

COUNTED = ("lookup", "getattr", "opendir", "readdir", "open", "read", "getxattr", "listxattr")


def main() -> None:
    *options, address, folder = sys.argv[1:]

    def build() -> Served:
        from oxenfs.mount.moving import Mover
        from oxenfs.mount.operations import Operations, Usage

        counts: Counter[str] = Counter()

        class Counting(Operations):
            async def statfs(self, ctx: object = None) -> Any:
                (Path.home() / "counts.json").write_text(json.dumps(counts))
                return await super().statfs(ctx)

            async def read(self, fh: int, off: int, size: int) -> Any:
                if (await self.inodes.path(self._files.get(fh).inode)).endswith(b"held"):
                    (Path.home() / "held").touch()
                    while not (Path.home() / "go").exists():  # noqa: ASYNC110
                        await trio.sleep(0.01)
                return await super().read(fh, off, size)

        def counted(name: str) -> Any:
            handler = Counting.__dict__.get(name) or getattr(Operations, name)

            async def call(self: Operations, *args: Any) -> Any:
                counts[name] += 1
                return await handler(self, *args)

            return call

        for name in COUNTED:
            setattr(Counting, name, counted(name))
        plan = Plan(parse(address), places.cache_dir(), revisions="--revisions" in options)
        built = stack.build(plan)
        operations = Counting(built.root, Usage(0, 0))
        mover = Mover(built, operations)
        return Served(operations, built.facts, built.close, mover.commands(), mover.shown)

    daemon.run(folder, build, Options(), lambda started: print("mounted", started, flush=True))


if __name__ == "__main__":
    main()
