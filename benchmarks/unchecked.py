"""Runs `oxenfs` without comparing what its disk cache reads: the peer of `checking.py`.

There is no such switch in oxenfs itself, nor should there be.

    python benchmarks/unchecked.py mount ADDRESS DIR ...
"""

from __future__ import annotations

import sys

from oxenfs.store import cache
from oxenfs.store.cache_rows import Row
from oxenfs.store.segments import Buffer
from oxenfs_cli.main import main


def _take_as_right(table: str, key: bytes, row: Row, data: Buffer) -> bool:
    return True


if __name__ == "__main__":
    cache.is_right = _take_as_right
    sys.exit(main())
