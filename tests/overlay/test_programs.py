"""Programs that people use, in a mount with an overlay; each test looks at what they made."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from remote.reference import tree_of

from oxenfs.remote.local.repository import open_repository

from .mounting import OverlayMount, listed, write
from .test_committing import files_at
from .twins import look

pytestmark = pytest.mark.fuse


def run(*words: str | Path, cwd: Path | None = None, stdin: bytes = b"") -> bytes:
    if shutil.which(str(words[0])) is None:
        pytest.skip(f"there is no {words[0]} here")
    done = subprocess.run(words, cwd=cwd, input=stdin, capture_output=True, timeout=60)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    for number in range(20):
        write(top / f"d{number % 3}" / f"f{number}", b"x" * number * 1000)
    (top / "link").symlink_to("d0")
    (top / "d0" / "run").write_bytes(b"#!/bin/sh\n")
    (top / "d0" / "run").chmod(0o755)
    return top


def test_cp_copies_into_it(mount: OverlayMount, tree: Path) -> None:
    run("cp", "-a", tree, mount.dir / "copy")
    assert look(mount.dir / "copy") == look(tree)


def test_rsync_makes_it_equal_and_then_has_nothing_to_do(mount: OverlayMount, tree: Path) -> None:
    run("rsync", "-a", "--delete", f"{tree}/", f"{mount.dir}/")
    assert look(mount.dir) == look(tree)
    said = run("rsync", "-ai", "--delete", f"{tree}/", f"{mount.dir}/")
    assert [line for line in said.splitlines() if not line.startswith(b".d")] == []


def test_tar_unpacks_into_it(mount: OverlayMount, tree: Path, tmp_path: Path) -> None:
    run("tar", "cf", tmp_path / "t.tar", "-C", tree, ".")
    (mount.dir / "t").mkdir()
    run("tar", "xf", tmp_path / "t.tar", "-C", mount.dir / "t")
    assert look(mount.dir / "t") == look(tree)


def test_git_keeps_a_repository_in_it(mount: OverlayMount) -> None:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    run("git", "init", "-q", mount.dir)
    run("git", "-C", mount.dir, "add", "top.txt", "d")
    run("git", "-C", mount.dir, *who, "commit", "-qm", "first")
    (mount.dir / "top.txt").write_bytes(b"other\n")
    assert run("git", "-C", mount.dir, "status", "--porcelain").splitlines()[0] == b" M top.txt"
    run("git", "-C", mount.dir, "fsck", "--strict")
    run("git", "-C", mount.dir, "checkout", "-q", "top.txt")
    assert (mount.dir / "top.txt").read_bytes() == b"top\n"


def test_sqlite_keeps_a_database_in_it(mount: OverlayMount, repository: Path) -> None:
    database = mount.dir / "t.db"
    for mode in ("delete", "truncate"):
        script = f"pragma journal_mode={mode}; create table if not exists t(x);"
        script += "".join(f"insert into t values({n});" for n in range(50))
        run("sqlite3", database, stdin=script.encode())
    assert run("sqlite3", database, "select count(*), sum(x) from t") == b"100|2450\n"
    assert run("sqlite3", database, "pragma integrity_check") == b"ok\n"
    mount.commit()
    remote = open_repository(repository)
    data = tree_of(remote, remote.branch("main").commit)[b"t.db"]
    remote.close()
    assert data == database.read_bytes()


def test_vim_edits_a_file(mount: OverlayMount) -> None:
    run("vim", "-u", "NONE", "-es", "-c", "%s/top/bottom/", "-c", "wq", mount.dir / "top.txt")
    assert (mount.dir / "top.txt").read_bytes() == b"bottom\n"
    assert mount.status() == [("M", "top.txt")]


def test_sed_edits_in_place(mount: OverlayMount) -> None:
    run("sed", "-i", "s/one/1/", mount.dir / "d" / "one.txt")
    assert (mount.dir / "d" / "one.txt").read_bytes() == b"1\n"
    assert mount.status() == [("M", "d/one.txt")]
    assert listed(mount.dir / "d") == ["e", "one.txt", "two.txt"]


def test_ffmpeg_writes_a_video(mount: OverlayMount) -> None:
    source = ("-f", "lavfi", "-i", "testsrc=size=64x64:rate=10:duration=1")
    run("ffmpeg", "-loglevel", "error", *source, mount.dir / "clip.mp4")
    said = run("ffmpeg", "-i", mount.dir / "clip.mp4", "-map", "0:v", "-f", "framecrc", "-")
    assert said.count(b"\n0,") == 10


def test_a_temporary_file_takes_the_place_of_another(mount: OverlayMount) -> None:
    for number in range(20):
        part = mount.dir / f"top.txt.{number}"
        with part.open("wb") as file:
            file.write(b"version %d" % number)
            file.flush()
            os.fsync(file.fileno())
        part.replace(mount.dir / "top.txt")
        assert (mount.dir / "top.txt").read_bytes() == b"version %d" % number
    assert mount.status() == [("M", "top.txt")]


def test_pandas_writes_a_table(mount: OverlayMount, repository: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="no pandas (pip install pandas pyarrow)")
    pytest.importorskip("pyarrow", reason="no pyarrow (pip install pandas pyarrow)")
    table = pandas.DataFrame({"name": ["a", "b"] * 5000, "value": range(10_000)})
    for path in (mount.dir / "d" / "table.parquet", mount.dir / "table.csv"):
        for rows in (100, 10_000):
            if path.suffix == ".csv":
                table[:rows].to_csv(path, index=False)
                found = pandas.read_csv(path)
            else:
                table[:rows].to_parquet(path)
                found = pandas.read_parquet(path)
            assert found.equals(table[:rows])
    data = (mount.dir / "d" / "table.parquet").read_bytes()
    mount.commit()
    assert files_at(repository)[b"d/table.parquet"] == data


def test_flock_keeps_others_out(mount: OverlayMount) -> None:
    with (mount.dir / "top.txt").open("r+b") as one, (mount.dir / "top.txt").open("r+b") as two:
        fcntl.flock(one, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_mapped_file_takes_writes(mount: OverlayMount) -> None:
    import mmap

    with (mount.dir / "big.bin").open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[400_000:400_006] = b"mapped"
        mapped.flush()
    assert (mount.dir / "big.bin").read_bytes()[400_000:400_006] == b"mapped"


def test_a_full_disk_stops_a_writer_and_nothing_else(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small tmpfs")
    folder = tmp_path_factory.mktemp("full").resolve()
    made = OverlayMount(folder, f"{repository}@main")
    data = folder / "home" / ".local" / "share"
    data.mkdir(parents=True, mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "small", data], check=True)
    try:
        made.start()
        write(made.dir / "before", b"before" * 1000)
        with pytest.raises(OSError, match="No space left"):
            write(made.dir / "big", bytes(40 << 20))
        assert (made.dir / "before").read_bytes() == b"before" * 1000
        (made.dir / "big").unlink()
        deadline = 100
        while deadline:
            try:
                write(made.dir / "after", b"x" * 100_000)
                break
            except OSError:
                deadline -= 1
                import time

                time.sleep(0.2)
        assert deadline
        made.stop()
        made.start()
        assert (made.dir / "before").read_bytes() == b"before" * 1000
        assert listed(made.dir) == ["after", "before", "big.bin", "d", "top.txt"]
        made.stop()
    finally:
        made.kill()
        subprocess.run(["umount", data], check=True)


def test_df_shows_the_space_for_changes(mount: OverlayMount) -> None:
    found, disk = os.statvfs(mount.dir), os.statvfs(mount.dir.parent)
    assert found.f_bavail > 0
    assert abs(found.f_bavail - disk.f_bavail) < disk.f_blocks
    with (mount.dir / "reserved").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 10_000)
    assert (mount.dir / "reserved").stat().st_size == 10_000
