"""The handlers, called as pyfuse3 calls them, without a mount."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

import pytest
from in_trio import in_trio
from repositories import KIB, MTIME_NS, commit, make_repository, noise

from oxenfs.address import Address
from oxenfs.mount.blocks import ROOT, Inode
from oxenfs.mount.operations import Operations, Usage
from oxenfs.views import stack
from oxenfs.views.plan import Plan
from oxenfs.views.stack import Stack

from .calling import Lister, code_of, entry_of, find

FILES = {
    b"a": b"one\n",
    b"large": noise(900 * KIB, 1),
    b"many/none": b"",
    b"sub/deep/x": b"deep",
    **{b"many/%03d" % number: b"%d" % number for number in range(600)},
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("operations")
    remote = make_repository(folder / "repository", FILES)
    commit(remote, {b"message": b""}, message="second\nline")
    made = stack.build(Plan(Address(folder / "repository"), folder / "cache"))
    yield made
    made.close()
    remote.close()


@pytest.fixture
def handlers(built: Stack) -> Iterator[Operations]:
    usage = Usage(built.facts.size_bytes, built.facts.files)
    made = Operations(built.root, usage)
    yield made
    made.close()


@pytest.fixture
def lister(monkeypatch: pytest.MonkeyPatch) -> Lister:
    return Lister(monkeypatch)


@in_trio
async def test_lookup_gives_the_attributes(handlers: Operations) -> None:
    entry = await handlers.lookup(ROOT, b"a")
    assert entry.st_mode == stat.S_IFREG | 0o444
    assert entry.st_size == 4
    assert entry.st_blocks == 1
    assert entry.st_nlink == 1
    assert entry.st_mtime_ns == entry.st_ctime_ns == entry.st_atime_ns == MTIME_NS
    assert (entry.st_uid, entry.st_gid) == (os.getuid(), os.getgid())
    assert entry.entry_timeout >= 30 * 24 * 3600
    assert entry.attr_timeout >= 30 * 24 * 3600
    folder = await handlers.lookup(ROOT, b"sub")
    assert folder.st_mode == stat.S_IFDIR | 0o555
    assert folder.st_size == 0


@in_trio
async def test_getattr_agrees_with_lookup_and_readdir(handlers: Operations, lister: Lister) -> None:
    for path in (b"", b"sub", b"many"):
        parent = await find(handlers, path)
        for name, listed in await lister.all(handlers, parent):
            assert entry_of(await handlers.lookup(parent, name)) == listed, name
            assert entry_of(await handlers.getattr(Inode(listed.inode))) == listed, name


@pytest.mark.parametrize("room", [1, 2, 255, 256, 257, 10_000])
@in_trio
async def test_readdir_goes_on_where_the_last_reply_ended(
    handlers: Operations, lister: Lister, room: int
) -> None:
    listed = await lister.all(handlers, await find(handlers, b"many"), room)
    names = [name for name, _ in listed]
    assert names == sorted(path[5:] for path in FILES if path.startswith(b"many/"))


@in_trio
async def test_readdir_tells_files_from_directories(handlers: Operations, lister: Lister) -> None:
    listed = dict(await lister.all(handlers, ROOT))
    kinds = {name: stat.S_ISDIR(entry.mode) for name, entry in listed.items()}
    assert kinds == {b"a": False, b"large": False, b"many": True, b"message": False, b"sub": True}
    only = dict(await lister.all(handlers, await find(handlers, b"sub")))
    assert stat.S_ISDIR(only[b"deep"].mode)


@in_trio
async def test_readdir_behind_the_end_lists_nothing(handlers: Operations, lister: Lister) -> None:
    fh = await handlers.opendir(ROOT)
    await handlers.readdir(fh, 5, None)
    await handlers.readdir(fh, 1000, None)
    assert lister._found == []


@in_trio
async def test_an_open_file_gives_any_range(handlers: Operations) -> None:
    data = FILES[b"large"]
    opened = await handlers.open(await find(handlers, b"large"), os.O_RDONLY)
    assert opened.keep_cache
    assert not opened.direct_io
    for offset in (0, 1, 256 * KIB - 1, 600 * KIB, len(data) - 1, len(data), len(data) + 5):
        assert (
            bytes(await handlers.read(opened.fh, offset, 128 * KIB))
            == (data[offset : offset + 128 * KIB])
        )
    await handlers.release(opened.fh)


@pytest.mark.parametrize(
    "flags", [os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_RDONLY | os.O_TRUNC]
)
@in_trio
async def test_opening_for_writing_is_refused(handlers: Operations, flags: int) -> None:
    assert await code_of(handlers.open(await find(handlers, b"a"), flags)) == errno.EROFS


@in_trio
async def test_flags_that_write_nothing_are_no_reason_to_refuse(handlers: Operations) -> None:
    flags = os.O_RDONLY | os.O_APPEND | os.O_NOATIME | os.O_NONBLOCK
    opened = await handlers.open(await find(handlers, b"a"), flags)
    assert bytes(await handlers.read(opened.fh, 0, 10)) == b"one\n"


@in_trio
async def test_wrong_kinds_are_named(handlers: Operations) -> None:
    file, folder = await find(handlers, b"a"), await find(handlers, b"sub")
    assert await code_of(handlers.open(folder, os.O_RDONLY)) == errno.EISDIR
    assert await code_of(handlers.opendir(file)) == errno.ENOTDIR
    assert await code_of(handlers.lookup(file, b"x")) == errno.ENOTDIR
    assert await code_of(handlers.lookup(folder, b"x")) == errno.ENOENT


@in_trio
async def test_numbers_that_were_never_given_out_are_refused(handlers: Operations) -> None:
    assert await code_of(handlers.getattr(Inode(999_999))) == errno.ENOENT
    assert await code_of(handlers.lookup(Inode(999_999), b"a")) == errno.ENOENT
    assert await code_of(handlers.read(77, 0, 1)) == errno.EBADF
    assert await code_of(handlers.readdir(77, 0, None)) == errno.EBADF
    assert await code_of(handlers.release(77)) == errno.EBADF
    assert await code_of(handlers.releasedir(77)) == errno.EBADF


@in_trio
async def test_extended_attributes_tell_the_last_commit(handlers: Operations) -> None:
    inode = await find(handlers, b"message")
    listed = await handlers.listxattr(inode)
    assert list(listed) == [
        b"user.oxen.hash",
        b"user.oxen.commit",
        b"user.oxen.author",
        b"user.oxen.date",
        b"user.oxen.message",
    ]
    assert await handlers.getxattr(inode, b"user.oxen.message") == b"second\nline"
    assert await handlers.getxattr(ROOT, b"user.oxen.message") == b"second\nline"
    assert await handlers.getxattr(await find(handlers, b"a"), b"user.oxen.message") == b"message"


@pytest.mark.parametrize(
    "name", [b"security.capability", b"system.posix_acl_access", b"user.mine", b"user.oxen.other"]
)
@in_trio
async def test_other_extended_attributes_are_not_there(handlers: Operations, name: bytes) -> None:
    assert await code_of(handlers.getxattr(await find(handlers, b"a"), name)) == errno.ENODATA


@in_trio
async def test_names_of_others_are_answered_without_the_tree(handlers: Operations) -> None:
    # An inode that does not exist: whoever looked for it would say so.
    assert await code_of(handlers.getxattr(Inode(10**9), b"security.capability")) == errno.ENODATA


@in_trio
async def test_statfs_says_how_large_the_commit_is(handlers: Operations) -> None:
    facts = await handlers.statfs()
    size = sum(map(len, FILES.values()))
    assert facts.f_blocks * facts.f_frsize >= size > (facts.f_blocks - 1) * facts.f_frsize
    assert facts.f_bfree == facts.f_bavail == facts.f_ffree == facts.f_favail == 0
    assert facts.f_files == len(FILES) + 1
    assert facts.f_namemax == 255


@in_trio
async def test_the_info_file_is_there_by_name(handlers: Operations, lister: Lister) -> None:
    folder = entry_of(await handlers.lookup(ROOT, b".oxenfs"))
    assert stat.S_ISDIR(folder.mode)
    assert b".oxenfs" not in dict(await lister.all(handlers, ROOT))
    (found,) = await lister.all(handlers, Inode(folder.inode))
    assert found[0] == b"info.json"
    assert entry_of(await handlers.lookup(ROOT, b".oxenfs")) == folder


def test_forget_is_no_coroutine(handlers: Operations) -> None:
    assert handlers.forget([(5, 1)]) is None  # type: ignore[func-returns-value]
