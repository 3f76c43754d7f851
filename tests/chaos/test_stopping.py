"""A mount can be stopped whatever it is waiting for; nothing of it is left."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
from semantics.mounted import until

from .conftest import Served, mounted
from .faults import BLOBS, Fault
from .files import Outcome, read_at_random

pytestmark = pytest.mark.fuse

STOPS = 8
FAULTS = (
    Fault("stall", 0.1, BLOBS),
    Fault("stall within", 0.1, BLOBS),
    Fault("drip", 0.05, BLOBS),
    Fault("status", 0.1, status=503, retry_after="60"),
    Fault("reset", 0.1),
    Fault("latency", 0.5, seconds=0.1),
)


def children_of(pid: int) -> list[int]:
    """Return the processes below one, all of them."""
    found = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return found + [below for child in found for below in children_of(child)]


def is_there(pid: int) -> bool:
    """Return whether a process runs; one that only waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("turn", range(STOPS))
def test_a_mount_stops_at_any_time(served: Served, tmp_path: Path, turn: int) -> None:
    draw = random.Random(turn)
    outcomes: list[Outcome] = []
    # 60 s: what waits for the network would wait longer than this test does.
    with mounted(tmp_path, served.address, timeout_s=60) as mount:
        served.between.play(*FAULTS)

        def crowd() -> None:
            outcomes.append(
                read_at_random(mount.dir, served.files, seed=turn, reads=10**6, stop=ended.is_set)
            )

        ended = threading.Event()
        thread = threading.Thread(target=crowd)
        thread.start()
        time.sleep(draw.uniform(0.0, 1.5))
        family = [mount.pid, *children_of(mount.pid)]
        ended.set()
        os.kill(mount.pid, signal.SIGTERM if turn % 2 else signal.SIGINT)
        until(lambda: not is_there(mount.pid), "the daemon has ended", 20)
        thread.join(20)
        assert not thread.is_alive(), "a reader still waits"
        # It had its end by itself: code 0, and no traceback in its log.
        mount.stop()
    assert not [pid for pid in family if is_there(pid)]
    assert outcomes[0].wrong == []
    until(lambda: served.between.open == 0, "no connection is left")
