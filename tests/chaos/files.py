"""Files of all sizes at which something changes, and readers that know what is right."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from repositories import KIB, MIB, commit, noise

from oxenfs.model import Author
from oxenfs.remote.local.repository import create

Files = dict[str, bytes]
"""Contents by path."""


def make(folder: Path) -> Files:
    """Make a repository with 2,530 files of 1 byte to 9 MiB, 170 MiB in all."""
    draw = random.Random(7)
    files: Files = {}
    for number in range(2500):
        files[f"small/{number % 30:02}/{number:04}.bin"] = noise(
            draw.randrange(1, 64 * KIB), number
        )
    for number in range(20):
        files[f"medium/{number:02}.bin"] = noise(draw.randrange(200 * KIB, MIB + 1), f"m{number}")
    for number in range(10):
        files[f"large/{number}.bin"] = noise(9 * MIB - number * 250 * KIB - number, f"l{number}")
    import_into(folder, files)
    return files


def import_into(folder: Path, files: Files) -> None:
    """Make a local repository at `folder` with these files at its branch `main`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    remote = create(folder, Author("Ada", "ada@example.com"))
    commit(remote, {path.encode(): data for path, data in files.items()})
    remote.close()


@dataclass
class Outcome:
    """What a crowd of readers saw.

    Attributes:
        right: reads that gave the bytes of the file.
        wrong: reads that gave others, as path, offset, size.
        errors: by errno.
        longest_s: of a single read, open included.
    """

    right: int = 0
    wrong: list[tuple[str, int, int]] = field(default_factory=list)
    errors: Counter[int] = field(default_factory=Counter)
    longest_s: float = 0.0

    @property
    def reads(self) -> int:
        return self.right + len(self.wrong) + self.errors.total()

    def note(self, error: int | None, started: float, *, right: bool = False) -> None:
        """Count one call that began at `started`."""
        self.right += right
        if error is not None:
            self.errors[error] += 1
        self.longest_s = max(self.longest_s, time.monotonic() - started)

    def add(self, other: Outcome) -> None:
        self.right += other.right
        self.wrong += other.wrong
        self.errors += other.errors
        self.longest_s = max(self.longest_s, other.longest_s)


def read_at_random(
    root: Path,
    files: Files,
    *,
    seed: object,
    reads: int,
    readers: int = 24,
    paths: Iterable[str] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Read random ranges of random files, past the page cache, by many readers at once."""
    chosen = sorted(files if paths is None else paths)
    outcome = Outcome()
    lock = threading.Lock()

    def reader(number: int) -> None:
        draw = random.Random(f"{seed} {number}")
        seen = Outcome()
        left = reads // readers + (number < reads % readers)
        while left > 0 and not stop():
            left -= read_one(root, files, draw.choice(chosen), draw, seen, min(left, 4))
        with lock:
            outcome.add(seen)

    threads = [threading.Thread(target=reader, args=(number,)) for number in range(readers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcome


def read_one(
    root: Path, files: Files, path: str, draw: random.Random, seen: Outcome, most: int
) -> int:
    """Read up to `most` random ranges of one file, note what came of it; return how many."""
    data = files[path]
    started = time.monotonic()
    try:
        # O_DIRECT: the kernel keeps nothing of it, so each read is one of the daemon.
        fd = os.open(root / path, os.O_RDONLY | os.O_DIRECT)
    except OSError as exc:
        seen.note(exc.errno, started)
        return 1
    try:
        for _ in range(most):
            offset = draw.randrange(len(data))
            size = min(draw.choice((1, 512, 4096, 65536, 131072)), len(data) - offset)
            started = time.monotonic()
            try:
                got = os.pread(fd, size, offset)
            except OSError as exc:
                seen.note(exc.errno, started)
                continue
            if got != data[offset : offset + size]:
                seen.wrong.append((path, offset, size))
            seen.note(None, started, right=got == data[offset : offset + size])
    finally:
        # Closing tells a mount that may have ended meanwhile.
        with contextlib.suppress(OSError):
            os.close(fd)
    return most
