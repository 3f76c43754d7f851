"""A folder with facts about a mount, there by name only."""

from __future__ import annotations

import json
import logging

import pytest
from in_trio import in_trio

from oxenfs.views.base import lookup
from oxenfs.views.facts import FOLDER, INFO, BytesFolder, WithFolder, info_folder

from .suite import Case, DirectorySuite, contents, names

FILES = {b"b.json": b"{}", b"a": b"", b"name\n": bytes(range(256)) * 40}
EXTRA = {b"info.json": b"facts"}


def folder(key: str = "folder") -> BytesFolder:
    return BytesFolder(key, FILES, 5_000_000_000)


def with_extra(inner: BytesFolder | None = None) -> WithFolder:
    return WithFolder(inner or folder(), b".extra", BytesFolder("extra", EXTRA, 7))


class TestBytesFolder(DirectorySuite):
    @pytest.fixture
    def case(self) -> Case:
        return Case(folder(), FILES)


class TestEmptyFolder(DirectorySuite):
    @pytest.fixture
    def case(self) -> Case:
        return Case(BytesFolder("empty", {}, 0), {})


class TestWithFolder(DirectorySuite):
    @pytest.fixture
    def case(self) -> Case:
        return Case(with_extra(), FILES, {b".extra": EXTRA})


class TestTwoFolders(DirectorySuite):
    @pytest.fixture
    def case(self) -> Case:
        inner = with_extra()
        both = WithFolder(inner, b".more", BytesFolder("more", {b"x": b"y"}, 1))
        return Case(both, FILES, {b".extra": EXTRA, b".more": {b"x": b"y"}})


class TestFolderThatIsHidden(DirectorySuite):
    @pytest.fixture
    def case(self) -> Case:
        own = {**FILES, b".extra": b"a file of that name"}
        return Case(with_extra(BytesFolder("own", own, 0)), own)


@in_trio
async def test_a_folder_of_bytes_has_the_time_it_was_given() -> None:
    assert (await folder().stat()).mtime_ns == 5_000_000_000


@in_trio
async def test_what_the_directory_itself_has_wins_and_the_log_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hidden = with_extra(BytesFolder("own", {b".extra": b"own"}, 0))
    for _ in range(3):
        assert await contents(await lookup(hidden, b".extra")) == b"own"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "'.extra'" in record.getMessage()


@in_trio
async def test_nothing_is_logged_where_nothing_is_hidden(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await contents(with_extra())
    assert caplog.records == []


@in_trio
async def test_the_info_is_json() -> None:
    facts = {"branch": None, "message": "Grüße\n\x1b[31m", "files": 3}
    made = info_folder(facts, 0)
    assert names(await made.listing()) == [INFO]
    found = await contents(await lookup(made, INFO))
    assert isinstance(found, bytes)
    assert json.loads(found) == facts
    assert found.endswith(b"}\n")
    assert FOLDER == b".oxenfs"
