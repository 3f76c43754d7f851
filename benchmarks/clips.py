"""Clips that benchmarks of frames read, repositories of them, and ways to read a frame folder."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness import progress
from mounts import Mount, mounted, oxenfs

if TYPE_CHECKING:
    from work import Work

SIZES = {"360p": "640x360", "1080p": "1920x1080"}
CODECS = {
    "h264": ["-c:v", "libx264", "-preset", "veryfast", "-crf", "28"],
    "hevc": [
        "-c:v",
        "libx265",
        "-preset",
        "ultrafast",
        "-crf",
        "30",
        "-x265-params",
        "log-level=1",
    ],
    "vp9": ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "800k"],
    "av1": ["-c:v", "libsvtav1", "-preset", "12", "-crf", "45"],
}


def make_clip(
    work: Work, size: str, seconds: int, gop: int, codec: str = "h264", more: Sequence[str] = ()
) -> Path:
    """Encode a clip that moves and has noise, once; kept for later runs."""
    tail = "".join(more).replace("/", "").replace("-", "").replace("+", "")
    path = work.kept / "videos" / f"{size}-{seconds}s-gop{gop}-{codec}{tail}.mp4"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        progress(f"encoding {path.name}")
        pictures = SIZES.get(size, size)
        source = f"testsrc2=size={pictures}:rate=25:duration={seconds},noise=alls=8:allf=t"
        made = path.with_suffix(".part.mp4")
        call = ["ffmpeg", "-nostdin", "-y", "-loglevel", "error", "-f", "lavfi", "-i", source]
        call += [*(CODECS[codec]), "-g", str(gop), "-pix_fmt", "yuv420p", *more, str(made)]
        subprocess.run(call, check=True)
        made.rename(path)
    return path


def copies(work: Work, clip: Path, count: int) -> list[Path]:
    """Return clips of the same pictures and different bytes: another title in each."""
    folder = work.kept / "videos" / f"{clip.stem}-x{count}"
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            call = ["ffmpeg", "-nostdin", "-y", "-loglevel", "error", "-i", str(clip), "-c", "copy"]
            call += ["-metadata", f"title=copy {number}", str(folder / f"clip{number:03d}.mp4")]
            subprocess.run(call, check=True)
        (folder / "complete").touch()
    return sorted(folder.glob("*.mp4"))


def make_repository(work: Work, clips: Sequence[Path]) -> str:
    """Return the address of a repository of the clips."""
    source, folder = work.new_folder("source"), work.new_folder("repository") / "r"
    for clip in clips:
        shutil.copy2(clip, source / clip.name)
    oxenfs(work, "init", folder)
    oxenfs(work, "import", source, f"{folder}@main", "-m", "clips")
    return f"{folder}@main"


@contextmanager
def awake(
    work: Work, address: str, clips: Sequence[Path] = (), cache: Path | None = None
) -> Iterator[Mount]:
    """Mount; a decoding process runs, as in the middle of a training, and the clips are cached."""
    with mounted(work, address, cache) as mount:
        for clip in clips:
            (mount.folder / clip.name).read_bytes()
        names(mount.folder / ".frames" / "first")
        time.sleep(1.0)
        yield mount


def names(folder: Path) -> list[str]:
    """Return what is in a folder, as cheaply as that can be asked."""
    with os.scandir(folder) as found:
        return [entry.name for entry in found]


def read_all(folder: Path) -> int:
    """Read all files of a folder in order; return how many there were."""
    found = sorted(names(folder))
    for name in found:
        (folder / name).read_bytes()
    return len(found)


def at_random(read: Callable[[int], object], count: int, frames: int, seed: int) -> float:
    """Return files per second for reading `count` of `frames` files in random order."""
    order = random.Random(seed).sample(range(frames), min(count, frames))
    started = time.perf_counter()
    for number in order:
        read(number)
    return len(order) / (time.perf_counter() - started)


def together(tasks: Sequence[Callable[[], object]], workers: int) -> float:
    """Run tasks by some threads, each taking the next; return the seconds."""
    waiting = list(reversed(tasks))
    failures: list[BaseException] = []

    def work() -> None:
        while waiting:
            try:
                waiting.pop()()
            except IndexError:
                return
            except BaseException as exc:
                failures.append(exc)
                return

    threads = [threading.Thread(target=work) for _ in range(workers)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return time.perf_counter() - started


def need(*programs: str) -> None:
    """End if one of some programs is not here."""
    for program in programs:
        if shutil.which(program) is None:
            sys.exit(f"these figures need {program} (apt-get install ffmpeg)")
