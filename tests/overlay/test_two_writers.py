"""Two overlays and a workspace of the official client commit to one branch, at random.

Whatever was acknowledged is in the history; each commit is its writer's changes on top of its
parent, of which nothing that others had changed is taken back; every conflict is named.

OXENFS_TEST_ROUNDS is the number of rounds; 200 is the long run. OXEN_SERVER names the binary of
the real server, which is taken then. Without the official client there are only the overlays.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from official.client import Client, ClientError

from oxenfs.model import parse_hash
from oxenfs.remote.base import Remote

from .mounting import OverlayMount, write
from .served import Served, files_in, files_of, history

pytestmark = pytest.mark.fuse

ROUNDS = int(os.environ.get("OXENFS_TEST_ROUNDS", "5"))
HANG_S = 120
FILES = {b"%s/%s" % (d, n): d + n for d in (b"d1", b"d2", b"e/f") for n in (b"a", b"b")}
FILES |= {b"top1": b"1", b"top2": b"2"}
NAMES = sorted(map(os.fsdecode, FILES))
FOLDERS = ["d1", "d2", "e/f", "e", "g"]

Tree = dict[bytes, bytes]


def different(old: Tree, new: Tree) -> dict[bytes, bytes | None]:
    """Return what `new` has for each path at which it is not as `old`; None for nothing."""
    paths = {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}
    return {path: new.get(path) for path in paths}


def applied(tree: Tree, changes: dict[bytes, bytes | None]) -> Tree:
    """Return `tree` with `changes`."""
    both: dict[bytes, bytes | None] = {**tree, **changes}
    return {path: data for path, data in both.items() if data is not None}


@dataclass
class Writer:
    """Somebody with an overlay.

    Attributes:
        decided: paths of which others' changes are to be taken back: `pull --keep mine`.
    """

    mount: OverlayMount
    number: int
    decided: frozenset[bytes] = frozenset()

    def base(self) -> str:
        """Return the commit that the overlay stands on."""
        code, said = self.mount.call("status", str(self.mount.dir), "--json")
        assert code == 0, said
        found: str = json.loads(said)["commit"]
        return found

    def has_renamed(self) -> bool:
        """Return whether something has another name than in the commit."""
        return any(row[0] == "R" for row in self.mount.status())

    def change(self, rng: random.Random, turn: int) -> None:
        """Write, remove and rename this and that."""
        top = self.mount.dir
        for step in range(rng.randrange(1, 5)):
            name, other = rng.choice(NAMES), rng.choice(NAMES)
            with contextlib.suppress(OSError):
                kind = rng.randrange(8)
                if kind < 4:
                    write(top / name, b"%d of %d in %d" % (step, self.number, turn))
                elif kind == 4:
                    (top / name).unlink()
                elif kind == 5:
                    (top / name).rename(top / other)
                elif kind == 6:
                    (top / rng.choice(FOLDERS)).rename(top / rng.choice(FOLDERS))
                else:
                    for path in (top / rng.choice(FOLDERS)).iterdir():
                        path.unlink()
        # Oxen stores no empty folders.
        for folder in sorted(top.rglob("*"), reverse=True):
            if folder.is_dir():
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def begin_commit(self, message: str) -> subprocess.Popen[str]:
        return self.mount.popen("-m", "oxenfs_cli", "commit", str(self.mount.dir), "-m", message)


class Officially:
    """A workspace of the official client."""

    def __init__(self, client: Client, served: Served, folder: Path) -> None:
        self._client = client
        self._host, _, name = served.address.removeprefix("http://").partition("/")
        self._repo = f"RemoteRepo({name!r}, {self._host!r}, scheme='http')"
        self._folder = folder
        self._number = 0
        self.base = ""

    def begin(self, rng: random.Random, turn: int) -> None:
        """Make a workspace on the branch's head, and stage something."""
        self._number += 1
        path = self._folder / rng.choice(NAMES)
        write(path, b"official in %d" % turn)
        self._path = str(path.relative_to(self._folder))
        self.base = self._run(
            "workspace = Workspace(repo, 'main', workspace_name=name)\n"
            "workspace.add(source, target)\n"
            "result = repo.get_branch('main').commit_id",
            source=str(path),
            target=os.path.dirname(self._path),
        )

    def commit(self, message: str) -> bool:
        """Commit; return False if the server says that this is a conflict, or nothing new."""
        try:
            self._run(
                "workspace = Workspace(repo, 'main', workspace_name=name)\n"
                "workspace.commit(message)",
                message=message,
            )
        except ClientError:
            with contextlib.suppress(ClientError):
                self._run("Workspace(repo, 'main', workspace_name=name).delete()")
            return False
        return True

    def _run(self, code: str, **values: str) -> str:
        name = f"official-{self._number}"
        found = self._client.run(f"repo = {self._repo}\n{code}", name=name, **values)
        return str(found)


class Ledger:
    """What was committed so far, and whether it is right."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._trees: dict[str, Tree] = {}
        self.acknowledged: list[str] = []

    def tree(self, commit: str) -> Tree:
        """Return the files of a commit."""
        if commit not in self._trees:
            self._trees[commit] = files_of(self._remote, parse_hash(commit))
        return self._trees[commit]

    def head(self) -> str:
        """Return where the branch is."""
        return f"{self._remote.branch('main').commit:x}"

    def check(
        self, commit: str, base: str, changes: dict[bytes, bytes | None], decided: frozenset[bytes]
    ) -> None:
        """Check a commit of `changes`, which were made on top of `base`."""
        self.acknowledged.append(commit)
        (parent,) = self._remote.commit(parse_hash(commit)).parents
        before, there = self.tree(base), self.tree(f"{parent:x}")
        assert self.tree(commit) == applied(there, changes)
        lost = {
            path
            for path, data in changes.items()
            if there.get(path) != before.get(path) and there.get(path) != data
        }
        assert lost <= decided, (lost, decided)

    def check_history(self) -> None:
        """Check that all that was acknowledged is there."""
        found = [f"{commit.id:x}" for commit in history(self._remote)]
        assert len(set(found)) == len(found)
        assert set(self.acknowledged) <= set(found)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    server = Served(tmp_path / "served")
    server.make(FILES)
    yield server
    server.kill()


@pytest.fixture
def official(served: Served, tmp_path: Path) -> Iterator[Officially | None]:
    if importlib.util.find_spec("oxen") is None:
        yield None
        return
    (tmp_path / "client").mkdir()
    client = Client(tmp_path / "client")
    yield Officially(client, served, tmp_path / "staged")
    client.close()


def test_nothing_acknowledged_is_lost_and_every_conflict_is_named(
    served: Served, mounting: Callable[[str], OverlayMount], official: Officially | None
) -> None:
    rng = random.Random(os.environ.get("OXENFS_TEST_SEED", "writers"))
    writers = [Writer(mounting(f"{served.address}@main"), number) for number in (1, 2)]
    conflicts = 0
    with served.remote() as remote:
        ledger = Ledger(remote)
        for turn in range(ROUNDS):
            for writer in writers:
                writer.change(rng, turn)
            if official is not None:
                official.begin(rng, turn)
            rng.shuffle(writers)
            together = rng.random() < 0.4
            if official is not None and rng.random() < 0.5:
                commit_officially(official, ledger, turn)
            conflicts += commit_overlays(writers, ledger, turn, together=together)
            if official is not None and official.base:
                commit_officially(official, ledger, turn)
            for writer in writers:
                if rng.random() < 0.6:
                    conflicts += pull(writer, ledger, rng)
            ledger.check_history()
    print(f"{ROUNDS} rounds: {len(ledger.acknowledged)} commits, {conflicts} conflicts")
    assert ledger.acknowledged
    for writer in writers:
        writer.mount.stop()


def commit_officially(official: Officially, ledger: Ledger, turn: int) -> None:
    """Commit the official client's workspace, and check what came of it."""
    base, official_base = ledger.head(), official.base
    official.base = ""
    message = f"official {turn}"
    acknowledged = official.commit(message)
    commit = ledger.head()
    if commit == base:
        assert not acknowledged
        return
    (path,) = (os.fsencode(official._path),)
    data = (official._folder / official._path).read_bytes()
    ledger.check(commit, official_base, {path: data}, frozenset())


def commit_overlays(writers: list[Writer], ledger: Ledger, turn: int, *, together: bool) -> int:
    """Commit both overlays, at once or one after the other; return the number of conflicts."""
    conflicts = 0
    for group in [writers] if together else [[writer] for writer in writers]:
        bases = [writer.base() for writer in group]
        shown = [files_in(writer.mount.dir) for writer in group]
        head = ledger.head()
        running = [writer.begin_commit(f"round {turn} of {writer.number}") for writer in group]
        for writer, base, files, process in zip(group, bases, shown, running, strict=True):
            said, _ = process.communicate(timeout=HANG_S)
            changes = different(ledger.tree(base), files)
            if process.returncode == 0:
                commit = said.split()[-1]
                ledger.check(commit, base, changes, writer.decided)
                writer.decided = frozenset()
                # The mount shows the commit, and nothing is a change any more.
                assert files_in(writer.mount.dir) == ledger.tree(commit)
                assert writer.mount.status() == []
                continue
            if process.returncode == 4:
                # The branch has all of it, whoever did it.
                there = ledger.tree(ledger.head())
                assert applied(there, changes) == there, said
                continue
            assert process.returncode == 3, said
            conflicts += 1
            assert files_in(writer.mount.dir) == files
            if not together:
                assert ledger.head() == head
                both = conflicting(ledger, base, head, changes) - writer.decided
                assert all(is_named(path, said) for path in both), (both, said)
    return conflicts


def conflicting(
    ledger: Ledger, base: str, head: str, changes: dict[bytes, bytes | None]
) -> set[bytes]:
    """Return the paths that were changed on both sides, and differently."""
    before, there = ledger.tree(base), ledger.tree(head)
    return {
        path
        for path, data in changes.items()
        if there.get(path) != before.get(path) and there.get(path) != data
    }


def is_named(path: bytes, said: str) -> bool:
    """Return whether a path, or a folder that it is in, is one of those that a message names."""
    words = {os.fsencode(word) for word in re.split(r"[ ,;:]+", said)}
    parts = path.split(b"/")
    return any(b"/".join(parts[: length + 1]) in words for length in range(len(parts)))


def pull(writer: Writer, ledger: Ledger, rng: random.Random) -> int:
    """Pull, and decide where both sides changed something; return 1 if that was so."""
    base, head = ledger.tree(writer.base()), ledger.head()
    files, renamed = files_in(writer.mount.dir), writer.has_renamed()
    changes = different(base, files)
    both = conflicting(ledger, writer.base(), head, changes)
    theirs = different(base, ledger.tree(head))
    code, said = writer.mount.call("pull", str(writer.mount.dir))
    found = code == 3
    if found:
        decided = {path for path in {**changes, **theirs} if is_named(path, said)}
        assert both <= decided, (both, said)
        assert files_in(writer.mount.dir) == files
        keep = rng.choice(["mine", "theirs"])
        code, said = writer.mount.call("pull", str(writer.mount.dir), "--keep", keep)
        assert code == 0, said
        if keep == "mine":
            writer.decided |= decided
            theirs = {path: data for path, data in theirs.items() if path not in decided}
            # Of a folder that was removed here, what others put into it goes too.
            changes = {path: files.get(path) for path in changes.keys() | decided}
        else:
            changes = {path: data for path, data in changes.items() if path not in decided}
    assert code == 0, said
    assert writer.base() == head
    shown = files_in(writer.mount.dir)
    if not renamed:
        wanted = applied(ledger.tree(head), changes)
        assert shown == wanted, (different(wanted, shown), changes, base)
    # What others changed in a folder that is renamed here goes along with it; nothing is lost.
    written = {data for data in changes.values() if data not in base.values()}
    written |= {data for path, data in theirs.items() if path not in changes}
    assert written - {None} <= set(shown.values()), (changes, theirs, shown)
    return int(found)
