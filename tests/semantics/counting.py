"""Mounts as `oxenfs mount --foreground` does, and counts the requests of the kernel.

`python -m semantics.counting REPOSITORY DIR`; each `statfs` writes the counts so far into the file
that `OXENFS_TEST_COUNTS` names, or into `$HOME/counts.json`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from oxenfs import places
from oxenfs.address import parse
from oxenfs.mount import daemon
from oxenfs.mount.served import Options, Served
from oxenfs.views import stack
from oxenfs.views.stack import Plan

COUNTED = ("lookup", "getattr", "opendir", "readdir", "open", "read", "getxattr", "listxattr")


def main() -> None:
    address, folder = sys.argv[1:]

    def build() -> Served:
        from oxenfs.mount.operations import Operations, Usage

        counts: Counter[str] = Counter()

        class Counting(Operations):
            async def statfs(self, ctx: object = None) -> Any:
                (Path.home() / "counts.json").write_text(json.dumps(counts))
                return await super().statfs(ctx)

        def counted(name: str) -> Any:
            handler = getattr(Operations, name)

            async def call(self: Operations, *args: Any) -> Any:
                counts[name] += 1
                return await handler(self, *args)

            return call

        for name in COUNTED:
            setattr(Counting, name, counted(name))
        built = stack.build(Plan(parse(address), places.cache_dir()))
        return Served(Counting(built.root, Usage(0, 0)), built.facts, built.close)

    daemon.run(folder, build, Options(), lambda started: print("mounted", started, flush=True))


if __name__ == "__main__":
    main()
