"""Which overlay a mount is to have: a value that commands make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class OverlayPlan:
    """Which overlay a mount is to have.

    Attributes:
        dir: the mount folder, absolute and without symlinks.
        moved_from: the mount folder that the overlay had before; None for `dir`.
    """

    dir: Path
    moved_from: Path | None = None
