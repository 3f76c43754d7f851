"""What every `Directory` must do; a test module of a view says how to make one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Union

import pytest
import trio
from in_trio import in_trio

from oxenfs.errors import NotFound
from oxenfs.store.columns import Listing
from oxenfs.views.base import Directory, File, Node, Reader, lookup

Tree = Mapping[bytes, Union[bytes, "Tree"]]
"""Names to contents of files, or to what is in a directory."""


@dataclass(frozen=True)
class Case:
    """A directory, and what must be found in it.

    Attributes:
        tree: what listings show.
        unlisted: what is in the directory itself by name only.
    """

    directory: Directory
    tree: Tree
    unlisted: Tree = field(default_factory=dict)


def names(listing: Listing) -> list[bytes]:
    return listing.names_between(0, listing.count)


async def content(file: File) -> bytes:
    """Return the bytes of a file, read in pieces of an odd size."""
    reader = await file.open()
    size = (await file.stat()).size
    pieces = [bytes(await reader.read(offset, 7919)) for offset in range(0, size, 7919)]
    reader.close()
    return b"".join(pieces)


async def contents(node: Node) -> bytes | Tree:
    """Return a file's bytes, or a directory's tree."""
    if isinstance(node, File):
        return await content(node)
    assert isinstance(node, Directory)
    listing = await node.listing()
    return {
        listing.name(index): await contents(node.child(listing, index))
        for index in range(listing.count)
    }


async def walk(directory: Directory, path: bytes = b"") -> AsyncIterator[tuple[bytes, Node]]:
    """Yield path and node of the directory and of everything below it that is listed."""
    yield path, directory
    listing = await directory.listing()
    for index in range(listing.count):
        child = directory.child(listing, index)
        where = path + b"/" + listing.name(index)
        if isinstance(child, Directory):
            async for found in walk(child, where):
                yield found
        else:
            yield where, child


async def folders(directory: Directory) -> list[tuple[bytes, Directory]]:
    return [(path, node) async for path, node in walk(directory) if isinstance(node, Directory)]


class DirectorySuite:
    """Derive from it, and override `case`."""

    @pytest.fixture
    def case(self) -> Case:
        raise NotImplementedError

    @in_trio
    async def test_the_tree_is_the_one_expected(self, case: Case) -> None:
        assert await contents(case.directory) == case.tree

    @in_trio
    async def test_listings_are_sorted_and_name_nothing_twice(self, case: Case) -> None:
        for path, directory in await folders(case.directory):
            found = names(await directory.listing())
            assert found == sorted(set(found)), path

    @in_trio
    async def test_a_listing_is_immutable(self, case: Case) -> None:
        listing = await case.directory.listing()
        for column in (listing.sizes, listing.mtimes, listing.kinds, listing.names):
            assert memoryview(column).readonly

    @in_trio
    async def test_listing_again_gives_the_same(self, case: Case) -> None:
        for path, directory in await folders(case.directory):
            first, second = await directory.listing(), await directory.listing()
            assert names(first) == names(second), path
            assert list(first.sizes) == list(second.sizes), path
            assert list(first.mtimes) == list(second.mtimes), path

    @in_trio
    async def test_each_child_is_what_its_row_says(self, case: Case) -> None:
        for path, directory in await folders(case.directory):
            listing = await directory.listing()
            for index in range(listing.count):
                child = directory.child(listing, index)
                said = await child.stat()
                where = (path, listing.name(index))
                assert said.directory == listing.is_directory(index), where
                assert said.directory == isinstance(child, Directory), where
                assert said.size == listing.sizes[index], where
                assert said.mtime_ns == listing.mtimes[index], where

    @in_trio
    async def test_lookup_gives_the_child(self, case: Case) -> None:
        for path, directory in await folders(case.directory):
            listing = await directory.listing()
            for index in range(listing.count):
                child = directory.child(listing, index)
                found = await lookup(directory, listing.name(index))
                assert found.key == child.key, (path, listing.name(index))
                assert await found.stat() == await child.stat()

    @in_trio
    async def test_keys_are_unique_and_stable(self, case: Case) -> None:
        keys: dict[Hashable, bytes] = {}
        async for path, node in walk(case.directory):
            assert node.key not in keys, (path, keys[node.key])
            keys[node.key] = path
        again = {node.key: path async for path, node in walk(case.directory)}
        assert again == keys

    @in_trio
    async def test_a_name_that_is_not_there_is_not_found(self, case: Case) -> None:
        for path, directory in await folders(case.directory):
            known = {*names(await directory.listing()), *(case.unlisted if not path else ())}
            near = {name[:-1] for name in known} | {name + b"x" for name in known}
            for name in (near | {b"nothing", b"", b".", b"..", b"\xff", b"a" * 300}) - known:
                with pytest.raises(NotFound):
                    await lookup(directory, name)

    @in_trio
    async def test_unlisted_names_are_found_and_not_listed(self, case: Case) -> None:
        listed = names(await case.directory.listing())
        for name, expected in case.unlisted.items():
            assert name not in listed
            node = await lookup(case.directory, name)
            assert await contents(node) == expected
            assert (await lookup(case.directory, name)).key == node.key

    @in_trio
    async def test_readers_give_the_bytes_of_any_range(self, case: Case) -> None:
        async for path, node in walk(case.directory):
            if not isinstance(node, File):
                continue
            whole = await content(node)
            size = len(whole)
            reader = await node.open()
            for offset in {0, 1, size // 2, max(size - 1, 0), size, size + 1000}:
                for length in (1, 100, size + 1):
                    found = bytes(await reader.read(offset, length))
                    assert found == whole[offset : offset + length], (path, offset, length)
            reader.close()

    @in_trio
    async def test_readers_do_not_disturb_each_other(self, case: Case) -> None:
        files = [node async for _, node in walk(case.directory) if isinstance(node, File)]
        expected = [await content(file) for file in files]
        readers: list[Reader] = [await file.open() for file in files]
        twins: list[Reader] = [await file.open() for file in files]
        for reader in readers[::2]:
            reader.close()
        for twin, whole in zip(twins, expected, strict=True):
            assert bytes(await twin.read(0, len(whole))) == whole
        for reader in [*readers[1::2], *twins]:
            reader.close()

    @in_trio
    async def test_extended_attributes_are_bytes_under_full_names(self, case: Case) -> None:
        async for path, node in walk(case.directory):
            for name, value in (await node.xattrs()).items():
                assert name.startswith("user."), path
                assert isinstance(value, bytes), path

    @in_trio
    async def test_tasks_may_share_a_directory(self, case: Case) -> None:
        found: list[bytes | Tree] = []

        async def one() -> None:
            found.append(await contents(case.directory))

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(one)
        assert found == [case.tree] * 8
