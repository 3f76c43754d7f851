"""The layer over LMDB: checked values, files that lost their tail, several openings, forks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from oxenfs.errors import IntegrityError, OxenfsError
from oxenfs.kv import Environment, open_environment

from .conftest import ITEMS, TABLES


@pytest.fixture
def env(path: Path) -> Iterator[Environment]:
    made = open_environment(path, TABLES, durable=False)
    yield made
    made.close()


def test_values_come_back_and_tables_are_apart(env: Environment) -> None:
    with env.write() as txn:
        txn.put("one", b"a", b"1")
        txn.put("one", b"ab", b"")
        txn.put("one", b"b", b"x" * 100_000)
        txn.put("two", b"a", b"2")
        assert txn.get("one", b"a") == b"1"
    assert env.get("one", b"a") == b"1"
    assert env.get("two", b"a") == b"2"
    assert env.get("two", b"b") is None
    with env.read() as txn:
        assert txn.get("one", b"ab") == b""
        assert txn.has("one", b"b")
        assert not txn.has("two", b"b")
        assert (txn.count("one"), txn.count("two")) == (3, 1)
        assert list(txn.keys("one")) == [b"a", b"ab", b"b"]
        assert list(txn.scan("one", b"a")) == [(b"a", b"1"), (b"ab", b"")]
        assert list(txn.keys("one", b"c")) == []
    with env.write() as txn:
        assert txn.delete("one", b"a")
        assert not txn.delete("one", b"a")
    assert env.get("one", b"a") is None


def test_a_failed_write_leaves_nothing(env: Environment) -> None:
    def fail() -> None:
        with env.write() as txn:
            txn.put("one", b"a", b"1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert env.get("one", b"a") is None


def test_errors_of_whoever_uses_a_transaction_stay_as_they_are(env: Environment) -> None:
    with pytest.raises(PermissionError), env.read():
        raise PermissionError("not about the index")


def test_a_read_transaction_is_one_state(env: Environment) -> None:
    with env.read() as before:
        writer = threading.Thread(target=lambda: put(env, b"a", b"1"))
        writer.start()
        writer.join()
        assert before.get("one", b"a") is None
        assert env.get("one", b"a") == b"1"


def put(env: Environment, key: bytes, value: bytes) -> None:
    with env.write() as txn:
        txn.put("one", key, value)


def test_values_outlive_the_environment(path: Path, data: Path) -> None:
    env = open_environment(path, TABLES, durable=False)
    value = env.get("one", b"00059")
    with env.read() as txn:
        rest = dict(txn.scan("one"))
    env.close()
    assert value == ITEMS[b"00059"]
    assert rest == ITEMS
    with pytest.raises(OxenfsError):
        env.get("one", b"00059")


def test_a_value_that_is_not_what_was_written_is_refused(env: Environment) -> None:
    put(env, b"a", b"12345")
    table = env._tables["one"]
    with env._env.begin(db=table) as txn:
        sealed = bytes(txn.get(b"a"))
    for hurt in (b"", b"123", sealed[:-1], sealed[1:], b"0" + sealed[1:], sealed[:-1] + b"\0"):
        with env._env.begin(write=True, db=table) as txn:
            txn.put(b"a", hurt)
        with pytest.raises(IntegrityError, match="damaged"):
            env.get("one", b"a")
        with env.read() as reading:
            with pytest.raises(IntegrityError):
                reading.get("one", b"a")
            with pytest.raises(IntegrityError):
                list(reading.scan("one"))
            assert list(reading.keys("one")) == [b"a"]


def test_two_openings_share_one_environment(path: Path) -> None:
    first = open_environment(path, TABLES, durable=False)
    second = open_environment(path / ".." / path.name, TABLES, durable=False)
    assert first is second
    put(first, b"a", b"1")
    first.close()
    assert second.get("one", b"a") == b"1"
    second.close()
    third = open_environment(path, TABLES, durable=False)
    assert third is not first
    assert third.get("one", b"a") == b"1"
    third.close()


def test_a_folder_and_files_are_for_their_owner_alone(env: Environment, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o600}


def test_a_process_forked_from_one_that_has_it_open_is_refused(env: Environment) -> None:
    put(env, b"a", b"1")
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        answers = []
        try:
            again = open_environment(env.path, TABLES, durable=False)
            for use in (env.get, again.get):
                with pytest.raises(OxenfsError, match="before a fork"):
                    use("one", b"a")
            for begin in (env.read, env.write):
                with pytest.raises(OxenfsError, match="before a fork"), begin():
                    pass
            again.close()
            env.close()
            answers.append(b"refused")
        finally:
            os.write(writing, b"".join(answers))
            os._exit(0)
    os.close(writing)
    assert os.read(reading, 100) == b"refused"
    os.close(reading)
    assert os.waitpid(child, 0)[1] == 0
    put(env, b"a", b"2")
    assert env.get("one", b"a") == b"2"


COUNT = """
import sys
from pathlib import Path
from oxenfs.kv import open_environment
env = open_environment(Path(sys.argv[1]), ("one", "two"), durable=False)
for _ in range(200):
    with env.write() as txn:
        value = txn.get("one", b"n") or b"0"
        txn.put("one", b"n", b"%d" % (int(value) + 1))
"""


def test_writers_in_two_processes_wait_for_each_other(path: Path, env: Environment) -> None:
    others = [subprocess.Popen([sys.executable, "-c", COUNT, str(path)]) for _ in range(2)]
    assert [other.wait(50) for other in others] == [0, 0]
    assert env.get("one", b"n") == b"400"


KILLED = """
import os, sys
from pathlib import Path
from oxenfs.kv import open_environment
env = open_environment(Path(sys.argv[1]), ("one", "two"), durable=True)
with env.write() as txn:
    txn.put("one", b"kept", b"1")
with env.write() as txn:
    txn.put("one", b"lost", b"1")
    os.kill(os.getpid(), 9)
"""


def test_a_killed_writer_leaves_what_was_committed_and_no_lock(path: Path) -> None:
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False).returncode
    env = open_environment(path, TABLES, durable=True)
    put(env, b"more", b"2")
    with env.read() as txn:
        assert list(txn.keys("one")) == [b"kept", b"more"]
    env.close()


def test_a_sound_record_of_another_key_is_damage(tmp_path: Path) -> None:
    env = open_environment(tmp_path / "kv", ["t"], durable=False)
    with env.write() as txn:
        txn.put("t", b"one", b"value")
        sealed = txn._txn.get(b"one", db=txn._tables["t"])
        assert sealed is not None
        txn._txn.put(b"two", bytes(sealed), db=txn._tables["t"])
    assert env.get("t", b"one") == b"value"
    with pytest.raises(IntegrityError):
        env.get("t", b"two")
    env.close()
