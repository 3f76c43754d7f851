"""Checkouts to and fro under readers that come, go and are killed.

The number of checkouts is OXENFS_TEST_CHECKOUTS (30 unless told otherwise; 1000 is the long run).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from repositories import KIB, commit, make_repository, noise

from oxenfs.model import hash_text
from oxenfs.mount import registry
from oxenfs.mount.client import ask
from oxenfs.remote.local.repository import LocalRemote

from .mounted import Mounted, until

pytestmark = pytest.mark.fuse

CHECKOUTS = int(os.environ.get("OXENFS_TEST_CHECKOUTS", "30"))
READERS = 32
KILL_EVERY = 10 if CHECKOUTS < 200 else 25
FOLDERS = 20
PER_FOLDER = 30
CALL_S = 30.0


def content(folder: int, file: int, version: int) -> bytes:
    """Return a file that says all over which commit it is of."""
    label = b"%d %d %d " % (folder, file, version)
    return (label * (20 * KIB // len(label)))[: 8 * KIB + 137 * file + version]


def changes(folder: int, file: int) -> bool:
    return file % 10 == folder % 10


ONE = {
    b"d%02d/f%02d" % (d, f): content(d, f, 1) for d in range(FOLDERS) for f in range(PER_FOLDER)
} | {b"gone%02d/deep/x" % d: noise(5000, d) for d in range(5)}
TWO = {path: data for path, data in ONE.items() if not path.startswith(b"gone")}
TWO |= {
    b"d%02d/f%02d" % (d, f): content(d, f, 2)
    for d in range(FOLDERS)
    for f in range(PER_FOLDER)
    if changes(d, f)
}
TWO |= {b"d%02d/new" % d: noise(3000, d) for d in range(0, FOLDERS, 2)}
TWO.pop(b"d01/f05")
TWO.pop(b"d03/f04")
TWO[b"d03/f04/now/a/folder"] = b"folder"

# Each reads until it is killed, and says so when it has seen what is in neither commit.
READER = r"""
import hashlib, json, mmap, os, random, subprocess, sys, time
root, kind, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
wanted = {name: set(sums) for name, sums in json.load(sys.stdin).items()}
names = sorted(wanted)
rng = random.Random(seed)
checked = 0
def check(name, data):
    global checked
    checked += 1
    if hashlib.md5(data).hexdigest() not in wanted[name]:
        print("MIXED", name, len(data), data[:40], flush=True)
        sys.exit(1)
print("ready", flush=True)
while True:
    name = rng.choice(names)
    path = os.path.join(root, name)
    try:
        if kind == "read":
            with open(path, "rb") as f:
                check(name, f.read())
        elif kind == "slow":
            with open(path, "rb") as f:
                head = f.read(1000); time.sleep(rng.random() / 20)
                check(name, head + f.read())
        elif kind == "mmap":
            with open(path, "rb") as f:
                m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
                time.sleep(rng.random() / 20)
                check(name, m[:])
                m.close()
        elif kind == "list":
            with os.scandir(os.path.dirname(path)) as it:
                first = next(it); time.sleep(rng.random() / 20)
                names_seen = [first.name] + [e.name for e in it]
                assert len(set(names_seen)) == len(names_seen), names_seen
        elif kind == "find":
            subprocess.run(["find", root, "-ls"], stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
        elif kind == "cwd":
            os.chdir(os.path.dirname(path)); time.sleep(rng.random() / 20)
            try:
                os.listdir(".")
            finally:
                os.chdir("/")
        else:
            os.stat(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        pass
"""
KINDS = ["read"] * 12 + ["mmap"] * 6 + ["list"] * 4 + ["find"] * 2 + ["cwd"] * 3 + ["slow"] * 3
KINDS += ["stat"] * (READERS - len(KINDS))


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[LocalRemote]:
    made = make_repository(tmp_path / "repository", ONE)
    yield made
    made.close()


class Readers:
    """Processes that read; one that is killed is replaced."""

    def __init__(self, folder: Path, wanted: dict[str, list[str]]) -> None:
        self._folder = folder
        self._wanted = json.dumps(wanted).encode()
        self._running = [self._start(kind, n) for n, kind in enumerate(KINDS)]
        self._started = len(KINDS)

    def _start(self, kind: str, seed: int) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", READER, str(self._folder), kind, str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        process.stdin.write(self._wanted)
        process.stdin.close()
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    def kill_one(self, rng: random.Random) -> None:
        number = rng.randrange(len(self._running))
        victim = self._running[number]
        assert victim.poll() is None, self.said(victim)
        victim.kill()
        victim.wait(CALL_S + 5)
        for stream in (victim.stdout, victim.stderr):
            assert stream is not None
            stream.close()
        self._started += 1
        self._running[number] = self._start(KINDS[number], self._started)

    def check(self) -> None:
        for process in self._running:
            assert process.poll() is None, self.said(process)

    def stop(self) -> None:
        for process in self._running:
            process.kill()
        for process in self._running:
            process.wait(CALL_S + 5)
            for stream in (process.stdout, process.stderr):
                assert stream is not None
                stream.close()

    @staticmethod
    def said(process: subprocess.Popen[bytes]) -> str:
        assert process.stdout is not None
        assert process.stderr is not None
        return (process.stdout.read() + process.stderr.read()).decode()


def sums(*trees: dict[bytes, bytes]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for tree in trees:
        for path, data in tree.items():
            found.setdefault(os.fsdecode(path), []).append(hashlib.md5(data).hexdigest())
    return found


def anonymous_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["RssAnon"].split()[0]) + int(fields["RssShmem"].split()[0])


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_checkouts_to_and_fro_under_readers_mix_nothing_and_leak_nothing(
    remote: LocalRemote, mounting: Callable[..., Mounted], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = hash_text(remote.branch("main").commit)
    changed = {path: data for path, data in TWO.items() if ONE.get(path) != data}
    gone = [p for p in ONE if p not in TWO and not p.startswith(b"gone") and p != b"d03/f04"]
    two = hash_text(commit(remote, changed, remove=[*gone, *(b"gone%02d" % n for n in range(5))]))
    mounted = mounting(f"{remote.layout.root}@{one}")
    # The control socket itself: a command line for each checkout would be most of the time.
    monkeypatch.setenv("XDG_RUNTIME_DIR", mounted.environment["XDG_RUNTIME_DIR"])
    entry = registry.entry_at(mounted.dir)
    assert entry is not None
    readers = Readers(mounted.dir, sums(ONE, TWO))
    rng = random.Random(7)
    memory: list[int] = []
    files: list[int] = []
    slowest = 0.0
    try:
        for number in range(CHECKOUTS):
            started = time.monotonic()
            rev = two if number % 2 == 0 else one
            done = ask(entry, "checkout", timeout_s=CALL_S, rev=rev)
            slowest = max(slowest, time.monotonic() - started)
            assert done["commit"] == rev
            path = rng.choice(sorted(TWO if number % 2 == 0 else ONE))
            data = (mounted.dir / os.fsdecode(path)).read_bytes()
            assert data == (TWO if number % 2 == 0 else ONE)[path], path
            if number % KILL_EVERY == 0:
                readers.kill_one(rng)
                readers.check()
            if number >= CHECKOUTS // 3:
                memory.append(anonymous_kb(mounted.pid))
                files.append(descriptors(mounted.pid))
        readers.check()
        # Told to end while all of them read.
        started = time.monotonic()
        os.kill(mounted.pid, signal.SIGTERM)
        until(lambda: "unmounted" in mounted.log, "it ends", 5.0)
        ended = time.monotonic() - started
    finally:
        readers.stop()
    print(
        f"{CHECKOUTS} checkouts, slowest {slowest:.2f} s, ended in {ended:.2f} s, "
        f"memory {memory[0]} to {memory[-1]} kB, descriptors {min(files)} to {max(files)}"
    )
    # Python's own arenas come and go: a leak of 10 KB per checkout would be found in the long run.
    assert memory[-1] < memory[0] + 10_000
    assert max(files) < min(files) + 100


def test_sigterm_during_a_checkout_ends_the_process(
    remote: LocalRemote, mounting: Callable[..., Mounted]
) -> None:
    commit(remote, {path: data for path, data in TWO.items() if ONE.get(path) != data})
    mounted = mounting(f"{remote.layout.root}@main")
    one = hash_text(remote.branch("main").commit)
    parent = hash_text(remote.commit(remote.branch("main").commit).parents[0])
    list(mounted.dir.rglob("*"))
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from oxenfs.mount import registry\n"
        "from oxenfs.mount.client import ask\n"
        "entry = registry.entry_at(Path(sys.argv[1]))\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    for rev in sys.argv[2:]:\n"
        "        ask(entry, 'checkout', rev=rev)\n"
    )
    process = mounted.popen("-c", script, str(mounted.dir), one, parent)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        os.kill(mounted.pid, signal.SIGTERM)
        until(lambda: "unmounted" in mounted.log, "it ends", 5.0)
    finally:
        process.kill()
        process.communicate(timeout=20)
