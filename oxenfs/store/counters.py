"""What a mount did, in numbers, for `oxenfs stats`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path


@dataclass(slots=True)
class Counters:
    """Counts since the mount began. Plain additions, by whoever does it.

    Attributes:
        hits, misses: reads that needed no remote, and that did.
        bytes_served: what readers got.
        bytes_ahead: of what came from the remote, what nobody had asked for yet.
        retries: requests that were made again.
        healed: damaged objects of the cache that were dropped.
        mismatched: large blobs that were found wrong when they were complete.
        decoded, encoded: frames.
        requests, bytes_remote: of other processes of the mount; its own are the transport's.
    """

    hits: int = 0
    misses: int = 0
    bytes_served: int = 0
    bytes_ahead: int = 0
    retries: int = 0
    mismatched: int = 0
    decoded: int = 0
    encoded: int = 0
    requests: int = 0
    bytes_remote: int = 0

    def to_json(self) -> dict[str, int]:
        """Return the counts by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def memory_bytes(pid: int) -> int:
    """Return the memory that a process and its children have for themselves, in bytes.

    Mapped files are not in it: the kernel takes their pages back when it needs them.
    """
    total = 0
    waiting, seen = [pid], set()
    while waiting:
        each = waiting.pop()
        if each in seen:
            continue
        seen.add(each)
        folder = Path(f"/proc/{each}")
        try:
            for line in (folder / "status").read_text().splitlines():
                name, _, rest = line.partition(":")
                if name in ("RssAnon", "RssShmem"):
                    total += int(rest.split()[0]) * 1024
            for task in (folder / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except (OSError, ValueError):
            # It has ended meanwhile.
            continue
    return total
