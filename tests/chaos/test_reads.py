"""Very many reads over a network that does everything wrong: late or never, but not wrong."""

from __future__ import annotations

import errno
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from semantics.mounted import Mounted, until

from .conftest import Served, mounted
from .faults import BLOBS, Fault
from .files import Files, Outcome, read_at_random

pytestmark = pytest.mark.fuse

TIMEOUT_S = 3.0
CACHE_MB = 24
# How long a scene may go on until each of its faults happened.
SCENE_S = 120.0


@dataclass(frozen=True)
class Scene:
    """A part of the script.

    Attributes:
        faults: what happens during it.
        right: the share of reads that must nevertheless succeed.
        flips: whether bytes change silently, which only shows where a hash is known.
        weight: how many of the reads are its.
    """

    name: str
    faults: tuple[Fault, ...]
    right: float
    flips: bool = False
    weight: int = 1


ERRORS = tuple(Fault("status", 0.025, status=status) for status in (500, 502, 503, 504))
BUSY = (
    Fault("status", 0.02, status=429),
    Fault("status", 0.02, status=429, retry_after="1"),
    Fault("status", 0.02, status=503),
    Fault("status", 0.02, status=503, retry_after="0"),
)
BROKEN = (
    Fault("reset", 0.02),
    Fault("reset within", 0.02, BLOBS),
    Fault("truncate", 0.02, BLOBS),
)
LENGTHS = (Fault("short length", 0.03, BLOBS), Fault("long length", 0.03, BLOBS))
STUCK = (
    Fault("stall", 0.02, BLOBS),
    Fault("stall within", 0.02, BLOBS),
    Fault("drip", 0.02, BLOBS),
)
FLIPS = (Fault("flip", 0.05, ("QUERY versions",)),)
LATE = (Fault("latency", 0.3, seconds=0.03),)

SCENES = (
    Scene("calm", (), 1.0),
    Scene("10% errors", ERRORS, 0.99, weight=3),
    Scene("late", LATE, 1.0),
    Scene("busy", BUSY, 0.95),
    Scene("broken", BROKEN, 0.99, weight=2),
    Scene("lengths", LENGTHS, 0.99),
    # A share of nothing: who meets a dead connection waits, then the breaker speaks for others.
    Scene("stuck", STUCK, 0.0),
    Scene("flips", FLIPS, 0.97, flips=True),
    Scene("all", (*ERRORS, *BUSY, *BROKEN, *LENGTHS, *STUCK, *FLIPS), 0.0, flips=True, weight=2),
)
ALL = {fault for scene in SCENES for fault in scene.faults}


def test_very_many_reads_are_never_wrong(
    served: Served, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    reads = request.config.getoption("--chaos-reads")
    assert isinstance(reads, int)
    weights = sum(scene.weight for scene in SCENES)
    done = 0
    fired: dict[str, int] = {}
    with mounted(tmp_path, served.address, timeout_s=TIMEOUT_S, cache_mb=CACHE_MB) as mount:
        for scene in SCENES:
            outcome = play(scene, served, mount, reads * scene.weight // weights)
            done += outcome.reads
            fired = {fault.what: served.between.fired(fault.what) for fault in ALL}
        done += restart(served, mount, reads // 20)
        served.between.calm()
        recover(mount, served.files)
    assert done >= reads
    assert all(fired.values()), fired


def play(scene: Scene, served: Served, mount: Mounted, reads: int) -> Outcome:
    """Read while a scene is played, and look at what came of it."""
    before = {fault.what: served.between.fired(fault.what) for fault in scene.faults}
    served.between.play(*scene.faults)
    started = time.monotonic()
    outcome = read_at_random(mount.dir, served.files, seed=scene.name, reads=reads)
    missing = list(scene.faults)
    while missing and time.monotonic() < started + SCENE_S:
        # Who finds the breaker open asks nobody, and so meets no fault: read on until each did.
        missing = [
            fault for fault in missing if served.between.fired(fault.what) <= before[fault.what]
        ]
        if missing:
            seed = (scene.name, outcome.reads)
            outcome.add(read_at_random(mount.dir, served.files, seed=seed, reads=480))
    taken = time.monotonic() - started
    said = (
        f"{scene.name}: {outcome.reads} reads in {taken:.0f} s, {outcome.right} right, "
        f"errors {dict(outcome.errors)}, longest {outcome.longest_s:.2f} s"
    )
    print(said)
    assert outcome.wrong == [], said
    # Late by no more than three times the deadline: the machine may be busy.
    assert outcome.longest_s < 3 * TIMEOUT_S, said
    assert set(outcome.errors) <= {errno.EIO}, said
    for what, count in before.items():
        assert served.between.fired(what) > count, f"{what} did not happen; {said}"
    served.between.calm()
    recover(mount, served.files)
    assert outcome.right >= scene.right * outcome.reads, said
    return outcome


def recover(mount: Mounted, files: Files) -> None:
    """Wait until reading goes on, which takes no remount."""

    def all_right() -> bool:
        outcome = read_at_random(mount.dir, files, seed=time.monotonic(), reads=48)
        assert outcome.wrong == []
        return outcome.right == outcome.reads

    until(all_right, "reads go on when the network is well again", 4 * TIMEOUT_S)


def restart(served: Served, mount: Mounted, reads: int) -> int:
    """Kill the server while there are readers, start it again, and read on."""
    ended = threading.Event()
    outcomes: list[Outcome] = []

    def crowd() -> None:
        outcomes.append(
            read_at_random(mount.dir, served.files, seed="restart", reads=10**9, stop=ended.is_set)
        )

    thread = threading.Thread(target=crowd)
    thread.start()
    try:
        for _ in range(2):
            time.sleep(0.3)
            served.kill()
            time.sleep(0.5)
            served.start()
        time.sleep(1)
    finally:
        ended.set()
        thread.join()
    (outcome,) = outcomes
    assert outcome.wrong == []
    assert set(outcome.errors) <= {errno.EIO}
    assert outcome.longest_s < 3 * TIMEOUT_S
    recover(mount, served.files)
    rest = read_at_random(mount.dir, served.files, seed="after", reads=reads)
    assert (rest.right, rest.wrong) == (rest.reads, [])
    return outcome.reads + rest.reads
