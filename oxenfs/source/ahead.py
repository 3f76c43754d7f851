"""The same walk by a process of its own, which reads ahead of whoever stores what it finds.

Opening and reading small files is half of what it takes to import them, and Python runs one thread
at a time: a second process has the second core. It is `python -m oxenfs.source.ahead`; what to walk
comes on its standard input as JSON, steps go to its standard output in blocks of marshalled tuples
behind their length (u32 LE), which both are of one Python. A full pipe makes it wait.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import json
import marshal
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from oxenfs import failures
from oxenfs.errors import OxenfsError
from oxenfs.source.stable import Facts
from oxenfs.source.walk import Enter, Found, Leave, Step, walk

_BLOCK_BYTES = 512 << 10
_BLOCK_STEPS = 1024
_PIPE_BYTES = 1 << 20
_PR_SET_PDEATHSIG = 1
# What a step costs beside its data, for the size of a block.
_STEP_BYTES = 64


def walk_ahead(source: Path, target: bytes, *, skip_unsupported: bool) -> Generator[Step]:
    """Yield what `walk` yields, and raise what it raises. Closing it ends the process."""
    task = {"source": os.fsencode(source).hex(), "target": target.hex(), "skip": skip_unsupported}
    command = [sys.executable, "-m", "oxenfs.source.ahead"]
    # A process group of its own: Ctrl-C is for whoever reads, who then ends it.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with process.stdin as stdin:
                stdin.write(json.dumps(task).encode())
            while header := process.stdout.read(4):
                size = int.from_bytes(header, "little")
                block = process.stdout.read(size)
                if len(block) < size:
                    break
                steps, failure = marshal.loads(block)
                yield from map(_step, steps)
                if failure is not None:
                    raise failures.from_json(json.loads(failure))
            code = process.wait()
            if code:
                raise OxenfsError(
                    f"the process that reads the source ended with status {code}; "
                    "nothing was committed"
                )
        finally:
            process.kill()


def _step(fields: tuple[Any, ...]) -> Step:
    if len(fields) == 3:
        name, facts, data = fields
        return Found(name, Facts(*facts), data)
    return Enter(*fields) if fields else Leave()


def _blocks(steps: Iterator[Step]) -> Iterator[bytes]:
    """Cut steps into blocks; the failure that ends them goes into the last one."""
    waiting: list[tuple[Any, ...]] = []
    size = 0
    failure = None
    try:
        for step in steps:
            if isinstance(step, Found):
                waiting.append((step.name, tuple(step.facts), step.data))
                size += _STEP_BYTES + len(step.data or b"")
            else:
                waiting.append(tuple(step))
            if size >= _BLOCK_BYTES or len(waiting) >= _BLOCK_STEPS:
                yield marshal.dumps((waiting, None))
                waiting.clear()
                size = 0
    except OxenfsError as exc:
        failure = json.dumps(failures.to_json(exc))
    yield marshal.dumps((waiting, failure))


def main() -> None:
    """Walk, not beyond the life of the parent."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Steps are made by the thousand and dropped at once; there are no cycles to look for.
    gc.disable()
    task = json.load(sys.stdin)
    source = Path(os.fsdecode(bytes.fromhex(task["source"])))
    out = sys.stdout.buffer
    # An ordinary user's limit may be in the way; the default is 64 KiB.
    with contextlib.suppress(OSError):
        fcntl.fcntl(out, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    steps = walk(source, bytes.fromhex(task["target"]), skip_unsupported=task["skip"])
    try:
        for block in _blocks(steps):
            out.write(len(block).to_bytes(4, "little") + block)
        out.flush()
    except BrokenPipeError:
        # Whoever reads has failed, and says so.
        os._exit(1)


if __name__ == "__main__":
    main()
