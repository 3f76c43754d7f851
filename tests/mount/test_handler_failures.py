"""What a view raises, as the program that asked gets it."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Mapping

import pyfuse3
import pytest
from in_trio import in_trio

from oxenfs.errors import (
    AccessDenied,
    IntegrityError,
    NotFound,
    OxenfsError,
    RemoteUnavailable,
    StaleRevision,
)
from oxenfs.mount.blocks import ROOT
from oxenfs.mount.failed_reads import FailedReads
from oxenfs.mount.operations import Operations, Usage
from oxenfs.store.columns import Listing
from oxenfs.views.base import Attributes, Directory, File, Node, Reader
from oxenfs.views.facts import BytesFolder, WithFolder

from .calling import code_of, find


class Failing(File):
    """A file that fails in the way it is told to.

    Attributes:
        exc: raised by whatever comes after `stat`.
        reads: where it was asked to read.
    """

    def __init__(self, exc: Exception) -> None:
        self.exc = exc
        self.closed = 0
        self.reads: list[int] = []

    @property
    def key(self) -> str:
        return "failing"

    async def stat(self) -> Attributes:
        return Attributes(directory=False, size=100, mtime_ns=0, valid_for=2.5)

    async def xattrs(self) -> Mapping[str, bytes]:
        raise self.exc

    async def open(self) -> Reader:
        return self

    async def read(self, offset: int, size: int) -> bytes:
        self.reads.append(offset)
        raise self.exc

    def close(self) -> None:
        self.closed += 1


class FailingFolder(Directory):
    """A directory of which nothing can be learnt, with `file` in it by name."""

    def __init__(self, exc: Exception, file: Failing | None = None) -> None:
        self.exc = exc
        self.file = file

    @property
    def key(self) -> tuple[str, bool]:
        return ("folder", self.file is None)

    async def stat(self) -> Attributes:
        return Attributes(directory=True, size=0, mtime_ns=0)

    async def xattrs(self) -> Mapping[str, bytes]:
        raise self.exc

    async def listing(self) -> Listing:
        if self.file is None:
            raise self.exc
        return await BytesFolder("", {}, 0).listing()

    def child(self, listing: Listing, index: int) -> Node:
        raise self.exc

    async def unlisted(self, name: bytes) -> Node:
        if self.file is not None and name == b"file":
            return self.file
        raise self.exc


def failing(exc: Exception) -> Operations:
    """Return handlers with `bad/file`, which fails when read, and `worse`, which is a folder."""
    inner = WithFolder(BytesFolder("root", {b"good": b"fine"}, 0), b"worse", FailingFolder(exc))
    root = WithFolder(inner, b"bad", FailingFolder(exc, Failing(exc)))
    return Operations(root, Usage(0, 0))


OURS = [
    (NotFound("why"), errno.ENOENT),
    (AccessDenied("why"), errno.EACCES),
    (RemoteUnavailable("why"), errno.EIO),
    (IntegrityError("why"), errno.EIO),
    (StaleRevision("why"), errno.ESTALE),
    (OxenfsError("why"), errno.EIO),
]


@pytest.mark.parametrize(("exc", "code"), OURS)
@in_trio
async def test_what_a_view_raises_becomes_an_errno(exc: OxenfsError, code: int) -> None:
    handlers = failing(exc)
    file = await find(handlers, b"bad/file")
    folder = await find(handlers, b"worse")
    opened = await handlers.open(file, os.O_RDONLY)
    assert await code_of(handlers.read(opened.fh, 0, 10)) == code
    assert await code_of(handlers.getxattr(file, b"user.oxen.hash")) == code
    assert await code_of(handlers.listxattr(file)) == code
    assert await code_of(handlers.opendir(folder)) == code
    assert await code_of(handlers.lookup(folder, b"x")) == code
    assert await code_of(handlers.listxattr(folder)) == code


@pytest.mark.parametrize("exc", [ZeroDivisionError("a bug"), KeyError("x"), RecursionError()])
@in_trio
async def test_a_bug_in_a_view_is_an_input_output_error_with_a_traceback(
    exc: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    handlers = failing(exc)
    opened = await handlers.open(await find(handlers, b"bad/file"), os.O_RDONLY)
    assert await code_of(handlers.read(opened.fh, 0, 10)) == errno.EIO
    (record,) = caplog.records
    assert "bug" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is exc
    assert await code_of(handlers.opendir(await find(handlers, b"worse"))) == errno.EIO
    # And the rest lives on.
    good = await handlers.open(await find(handlers, b"good"), os.O_RDONLY)
    assert await handlers.read(good.fh, 0, 10) == b"fine"


@in_trio
async def test_why_a_read_failed_is_an_extended_attribute_and_one_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handlers = failing(IntegrityError("chunk 3 is damaged"))
    file = await find(handlers, b"bad/file")
    opened = await handlers.open(file, os.O_RDONLY)
    assert await code_of(handlers.getxattr(file, b"user.oxenfs.error")) == errno.ENODATA
    for _ in range(3):
        assert await code_of(handlers.read(opened.fh, 0, 10)) == errno.EIO
    assert await handlers.getxattr(file, b"user.oxenfs.error") == b"chunk 3 is damaged"
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "cannot read 'bad/file': chunk 3 is damaged"


@in_trio
async def test_the_page_that_the_kernel_asks_for_again_is_not_waited_for_again() -> None:
    exc = RemoteUnavailable("no answer within 30 s")
    file = Failing(exc)
    root = WithFolder(BytesFolder("r", {}, 0), b"bad", FailingFolder(exc, file))
    handlers = Operations(root, Usage(0, 0))
    opened = await handlers.open(await find(handlers, b"bad/file"), os.O_RDONLY)
    other = await handlers.open(await find(handlers, b"bad/file"), os.O_RDONLY)
    # A page of what was read ahead, then by itself; then by a program that tries again.
    assert await code_of(handlers.read(opened.fh, 4096, 131072)) == errno.EIO
    assert await code_of(handlers.read(opened.fh, 8192, 4096)) == errno.EIO
    assert file.reads == [4096]
    assert await code_of(handlers.read(opened.fh, 8192, 4096)) == errno.EIO
    assert file.reads == [4096, 8192]
    # Another place and another handle were not asked about.
    assert await code_of(handlers.read(opened.fh, 65536, 4096)) == errno.EIO
    assert await code_of(handlers.read(other.fh, 65536, 4096)) == errno.EIO
    assert file.reads == [4096, 8192, 65536, 65536]
    # What came damaged may come right the next time.
    file.exc = IntegrityError("damaged")
    for _ in range(2):
        assert await code_of(handlers.read(other.fh, 0, 4096)) == errno.EIO
    assert file.reads[4:] == [0, 0]


def test_what_failed_is_known_for_a_moment_and_of_all_reads_of_a_program() -> None:
    now = 100.0
    failed = FailedReads(lambda: now)
    exc = RemoteUnavailable("why")

    def is_known(offset: int) -> bool:
        try:
            failed.check(7, offset)
        except pyfuse3.FUSEError as error:
            return error.errno == errno.EIO
        return False

    for offset in (1 << 20, 0, 2 << 20):
        assert failed.error(7, offset, 1 << 20, exc).errno == errno.EIO
    assert is_known(0)
    assert not is_known(0)
    failed.error(7, 0, 4096, exc)
    assert not is_known(4096)
    failed.error(7, 0, 4096, exc)
    now += 0.5
    assert not is_known(0)
    for handle in range(5000):
        failed.error(handle, 0, 4096, exc)
    assert len(failed) <= 1000


@in_trio
async def test_why_a_directory_cannot_be_listed_is_told_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handlers = failing(IntegrityError("node 7 is damaged"))
    folder = await find(handlers, b"worse")
    assert await code_of(handlers.opendir(folder)) == errno.EIO
    assert await handlers.getxattr(folder, b"user.oxenfs.error") == b"node 7 is damaged"
    assert [record.getMessage() for record in caplog.records] == [
        "cannot read 'worse': node 7 is damaged"
    ]


@in_trio
async def test_the_error_is_listed_after_it_happened() -> None:
    class Damaged(Failing):
        async def xattrs(self) -> Mapping[str, bytes]:
            return {"user.oxen.hash": b"1"}

    exc = IntegrityError("why")
    root = WithFolder(BytesFolder("r", {}, 0), b"bad", FailingFolder(exc, Damaged(exc)))
    handlers = Operations(root, Usage(0, 0))
    file = await find(handlers, b"bad/file")
    assert list(await handlers.listxattr(file)) == [b"user.oxen.hash"]
    opened = await handlers.open(file, os.O_RDONLY)
    await code_of(handlers.read(opened.fh, 0, 10))
    assert list(await handlers.listxattr(file)) == [b"user.oxen.hash", b"user.oxenfs.error"]


@in_trio
async def test_a_node_says_how_long_it_is_valid() -> None:
    handlers = failing(NotFound("x"))
    folder = await find(handlers, b"bad")
    entry = await handlers.lookup(folder, b"file")
    assert (entry.entry_timeout, entry.attr_timeout) == (2.5, 2.5)
    other = await handlers.lookup(ROOT, b"good")
    assert other.attr_timeout > 1000


@in_trio
async def test_files_left_open_are_closed_in_the_end() -> None:
    file = Failing(NotFound("x"))
    root = WithFolder(BytesFolder("r", {}, 0), b"bad", FailingFolder(NotFound("x"), file))
    handlers = Operations(root, Usage(0, 0))
    inode = await find(handlers, b"bad/file")
    first = await handlers.open(inode, os.O_RDONLY)
    await handlers.open(inode, os.O_RDONLY)
    await handlers.release(first.fh)
    assert file.closed == 1
    handlers.close()
    assert file.closed == 2
