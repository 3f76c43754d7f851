"""A hostile server's names and numbers in a real mount, and in what commands print of it."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from remote.http.misbehaving import Misbehaving, Reply, Request, misbehaving, reply, success
from semantics.mounted import Mounted

from oxenfs.model import hash_text
from oxenfs.remote.archive import Member
from oxenfs.remote.archive_write import write_members

from .answers import COMMIT
from .building import BLOB, BLOB_ID, HEAD, ROOT, Tree, archive, file, folder, tree
from .trees import GOOD, NEVER_SHOWN, SHOWN, STRANGE

pytestmark = pytest.mark.fuse

# These are ours at the root of a mount, where the repository has none; here it has.
OURS = {b".oxenfs", b".frames"}
BIDI = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
EVIL = "\x1b[2J\u202eevil\u2066\r\n"


def everything() -> Tree:
    """Return one folder with every odd name, odd number, and a folder that is its own child."""
    named = [file(name) for name in (*NEVER_SHOWN.values(), *SHOWN.values(), GOOD)]
    strange = [file(f"strange {what}", **fields) for what, fields in STRANGE.items()]
    again = folder("again", ROOT)
    return tree([*named, *strange, again], size=(1 << 64) - 1, counts={"text": (1 << 64) - 1})


class Hostile:
    """Answers as a server would whose repository somebody else has made."""

    def __init__(self) -> None:
        self.nodes = archive(everything().nodes())
        self.head = {**COMMIT, "message": EVIL, "author": EVIL, "email": EVIL}

    def __call__(self, request: Request) -> Reply:
        branch = {"name": "main", "commit_id": hash_text(HEAD)}
        if request.method == "QUERY":
            asked = gzip.decompress(request.body).decode().split()
            members = [Member(each, BLOB if int(each, 16) == BLOB_ID else b"?") for each in asked]
            return reply(200, b"".join(write_members(members)))
        if request.path.startswith(("/tree/download", "/tree/nodes")):
            return reply(200, self.nodes)
        if request.path.startswith("/commits/history"):
            return success(commits=[self.head], total_pages=1)
        if request.path.startswith("/commits"):
            return success(commit=self.head)
        if request.path == "/branches":
            evil = {"name": EVIL, "commit_id": hash_text(HEAD)}
            return success(branches=[branch, evil])
        if request.path.startswith("/branches"):
            return success(branch=branch)
        return success(repository={"default_resource": {"branch": branch}})


def acts(char: str) -> bool:
    """Return whether a terminal does something else than showing it: control, bidi, line ends."""
    bidi = unicodedata.bidirectional(char) in BIDI or char in "\u200e\u200f\u061c"
    return bidi or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    with misbehaving() as running:
        running.answering = Hostile()
        yield running


@pytest.fixture
def mount(server: Misbehaving, tmp_path: Path) -> Iterator[Mounted]:
    mount = Mounted(tmp_path, f"http://{server.host}/ns/name")
    mount.errors_expected = True
    try:
        mount.start()
        yield mount
        mount.stop()
    finally:
        mount.kill()


def shown() -> set[bytes]:
    strange = {f"strange {what}".encode() for what in STRANGE}
    return {*SHOWN.values(), *strange, GOOD, b"again"}


def test_a_mount_shows_what_can_be_shown_and_reads_it(mount: Mounted) -> None:
    top = os.fsencode(mount.dir)
    assert set(os.listdir(top)) == shown()  # noqa: PTH208
    for name in shown() - {b"again"}:
        found = os.lstat(top + b"/" + name)
        assert found.st_mode & 0o777 == 0o444
    for name in (*SHOWN.values(), GOOD):
        fd = os.open(top + b"/" + name, os.O_RDONLY)
        assert os.read(fd, 100) == BLOB
        os.close(fd)
    for name in NEVER_SHOWN.values():
        if name.strip(b".") and not {0, 47} & set(name):
            with pytest.raises(OSError, match=r"No such file|too long"):
                os.lstat(top + b"/" + name)
    assert os.statvfs(top).f_blocks >= 0


def test_a_folder_in_itself_is_an_error_and_has_no_end(mount: Mounted) -> None:
    again = mount.dir / "again"
    with pytest.raises(OSError, match="Input/output"):
        list(again.iterdir())
    done = subprocess.run(["find", str(mount.dir)], capture_output=True, check=False)
    assert len(done.stdout.split(b"/good.txt\n")) == 2
    asked = mount.popen("-m", "oxenfs_cli", "prefetch", str(mount.dir))
    said, _ = asked.communicate(timeout=60)
    assert asked.returncode == 1
    assert "contains itself" in said


def test_files_that_lie_about_their_size_are_errors(mount: Mounted) -> None:
    for what in ("largest size", "no size"):
        path = mount.dir / f"strange {what}"
        if path.stat().st_size:
            with path.open("rb", buffering=0) as file, pytest.raises(OSError, match="Input/output"):
                file.read(10)
        else:
            assert path.read_bytes() == b""


def test_what_commands_print_does_nothing_to_a_terminal(
    mount: Mounted, server: Misbehaving
) -> None:
    where = str(mount.dir)
    for words in (
        ["log", where],
        ["branch", where],
        ["show", f"{hash_text(HEAD)}:", "-C", where],
        ["log", f"http://{server.host}/ns/name@none"],
    ):
        process = mount.popen("-m", "oxenfs_cli", *words)
        said, _ = process.communicate(timeout=60)
        assert said
        for line in said.splitlines():
            assert not any(map(acts, line)), (words, line)
    assert "\x1b" not in mount.log
    assert "\u202e" not in mount.log
    said = mount.run("-m", "oxenfs_cli", "log", where, "--json")
    assert json.loads(said)[0]["message"] == EVIL


def test_nothing_is_written_outside_of_the_mounts_own_folders(
    mount: Mounted, tmp_path: Path
) -> None:
    before = set(tmp_path.iterdir())
    assert before == {mount.dir, tmp_path / "home"}
    names = {os.fsencode(path.name) for path in (tmp_path / "home").rglob("*")}
    assert not names & (set(SHOWN.values()) - OURS)
