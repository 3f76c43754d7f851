"""Where benchmarks keep things: what lasts between runs, and what one run makes and removes."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


def default_folder() -> Path:
    """Return where trees are kept when `--work` is not given: one folder per user."""
    return Path(tempfile.gettempdir()) / f"oxenfs-benchmarks-{os.getuid()}"


@dataclass
class Work:
    """The folders of one run.

    Attributes:
        kept: trees and repositories, used again by the next run.
        run: everything else; removed as the very last thing, since ext4 makes new files slowly
            for a while after many were deleted.
        fresh: import repositories again even if they are there.
    """

    kept: Path
    run: Path
    fresh: bool = False
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def new_folder(self, name: str) -> Path:
        """Return a new, empty folder of this run."""
        path = self.run / f"{next(self._numbers):03d}-{name}"
        path.mkdir()
        return path
