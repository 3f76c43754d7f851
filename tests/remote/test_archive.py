"""Archives: what we write, `tarfile` reads, and the other way; what is wrong is damage."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from repositories import noise

from oxenfs.errors import IntegrityError
from oxenfs.remote.archive import Limits, Member, read_groups, read_members
from oxenfs.remote.archive_write import write_members

MEMBERS = [
    Member("a", b""),
    Member("b/c", b"x" * 511),
    Member("d", b"y" * 512),
    Member("n" * 100, noise(3_000_000, "member")),
]


def archive(*members: Member) -> bytes:
    return b"".join(write_members(members))


def tarred(add: Callable[[tarfile.TarFile], None], format: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=format) as tar:
        add(tar)
    return buffer.getvalue()


def entry(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE) -> bytes:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.type = len(data), kind
        tar.addfile(info, io.BytesIO(data))

    return tarred(add)


def header(**fields: bytes) -> bytes:
    """Return an archive of one member whose header has other bytes in some places."""
    raw = bytearray(gzip.decompress(archive(Member("x", b"12345"))))
    at = {"size": 124, "checksum": 148, "kind": 156}
    for name, value in fields.items():
        raw[at[name] : at[name] + len(value)] = value
    if "checksum" not in fields:
        raw[148:156] = b" " * 8
        raw[148:156] = b"%06o\0 " % sum(raw[:512])
    return gzip.compress(bytes(raw), mtime=0)


def read(data: bytes, limits: Limits | None = None, step: int = 0) -> list[Member]:
    steps = [data] if not step else [data[at : at + step] for at in range(0, len(data), step)]
    return list(read_members(steps, limits or Limits()))


@pytest.mark.parametrize("step", [0, 1000])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_what_is_written_is_read(level: int, step: int) -> None:
    assert read(b"".join(write_members(MEMBERS, level)), step=step) == MEMBERS


def test_what_came_before_damage_is_given_first() -> None:
    raw = bytearray(
        gzip.decompress(archive(Member("a", b"1"), Member("b", b"2"), Member("c", b"")))
    )
    raw[2048] ^= 1
    groups = read_groups([gzip.compress(bytes(raw))], Limits())
    assert next(groups) == [Member("a", b"1"), Member("b", b"2")]
    with pytest.raises(IntegrityError, match="checksum"):
        next(groups)


def test_what_comes_together_is_given_together() -> None:
    members = [Member(str(number), noise(1000, number)) for number in range(50)]
    data = b"".join(write_members(members, level=0))
    assert list(read_groups([data], Limits())) == [members]
    some = list(read_groups([data[:20_000], data[20_000:]], Limits()))
    assert len(some) == 2
    assert [*some[0], *some[1]] == members


def test_an_archive_may_come_byte_by_byte_with_nothing_between() -> None:
    data = archive(*MEMBERS[:3])
    pieces = [piece for at in range(len(data)) for piece in (b"", data[at : at + 1])]
    assert list(read_members(pieces, Limits())) == MEMBERS[:3]


def test_tarfile_reads_what_is_written() -> None:
    with tarfile.open(fileobj=io.BytesIO(archive(*MEMBERS)), mode="r:gz") as tar:
        for member in MEMBERS:
            info = tar.getmember(member.name)
            assert (info.mode, info.isreg()) == (0o644, True)
            file = tar.extractfile(info)
            assert file is not None
            assert file.read() == member.content


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_what_tarfile_writes_is_read(format: int) -> None:
    name = "folder/" * 20 + "f"

    def add(tar: tarfile.TarFile) -> None:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for each in (name, "plain"):
            info = tarfile.TarInfo(each)
            info.size = 5
            tar.addfile(info, io.BytesIO(b"12345"))

    assert read(tarred(add, format)) == [Member(name, b"12345"), Member("plain", b"12345")]


def test_a_member_is_given_as_soon_as_it_is_complete() -> None:
    asked = []
    data = archive(*MEMBERS)

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(data), 4096):
            asked.append(at)
            yield data[at : at + 4096]

    assert next(read_members(pieces(), Limits())) == MEMBERS[0]
    assert len(asked) == 1


def test_all_pieces_are_taken_before_the_end() -> None:
    data = archive(MEMBERS[0])
    pieces = iter([data[:-8], data[-8:]])
    assert list(read_members(pieces, Limits())) == [MEMBERS[0]]
    assert next(pieces, None) is None


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_an_archive_cut_off_anywhere_is_damage(data: st.DataObject) -> None:
    whole = archive(*MEMBERS[:3])
    at = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(IntegrityError, match="cut off"):
        read(whole[:at])


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_changed_byte_is_damage_or_of_no_meaning(at: int, change: int) -> None:
    whole = bytearray(archive(*MEMBERS[:3]))
    whole[at % len(whole)] ^= change
    try:
        got = read(bytes(whole))
    except IntegrityError:
        return
    # The time in gzip's own header, or bits between its end and the checksum.
    assert got == MEMBERS[:3]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=2000))
def test_bytes_that_are_no_archive_are_damage(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        read(data)
    with pytest.raises(IntegrityError):
        read(gzip.compress(data.rstrip(b"\0") + b"x"))


@pytest.mark.parametrize("size", [b"-0000000005\0", b"0000_00005\0\0", b"+0000000005\0", b"x" * 12])
def test_a_size_that_is_no_octal_number_is_damage(size: bytes) -> None:
    with pytest.raises(IntegrityError, match="not tar"):
        read(header(size=size))


def test_a_wrong_checksum_is_damage() -> None:
    assert read(header()) == [Member("x", b"12345")]
    with pytest.raises(IntegrityError, match="checksum"):
        read(header(checksum=b"000001\0 "))


@pytest.mark.parametrize(
    "more", [b"x", archive(MEMBERS[0]), b"\x1f\x8b", gzip.compress(b"x", mtime=0)]
)
def test_what_follows_the_end_is_damage(more: bytes) -> None:
    with pytest.raises(IntegrityError):
        read(archive(MEMBERS[0]) + more)


def test_gzip_in_several_parts_and_zeros_behind_are_fine() -> None:
    raw = gzip.decompress(archive(*MEMBERS))
    parts = [gzip.compress(raw[:700]), gzip.compress(raw[700:]), gzip.compress(bytes(10_240))]
    assert read(b"".join(parts)) == MEMBERS


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.XHDTYPE,
        b"K",
        b"S",
    ],
)
def test_links_and_devices_are_refused(kind: bytes) -> None:
    with pytest.raises(IntegrityError, match="no file"):
        read(header(kind=kind))


def test_the_number_of_members_is_limited() -> None:
    assert len(read(archive(*MEMBERS), Limits(members=4))) == 4
    with pytest.raises(IntegrityError, match="more than 3 members"):
        read(archive(*MEMBERS), Limits(members=3))


def test_the_size_of_a_member_is_limited_before_it_is_read() -> None:
    data = archive(Member("x", bytes(1001)))
    assert read(archive(Member("x", bytes(1000))), Limits(member_bytes=1000))
    with pytest.raises(IntegrityError, match="member of 1001 bytes"):
        read(data, Limits(member_bytes=1000))
    for size in (b"\x80" + bytes(3) + b"\xff" * 8, b"\xff" * 12, b"77777777777\0"):
        with pytest.raises(IntegrityError, match=r"member of [0-9]+ bytes"):
            read(header(size=size))


def test_a_long_name_is_limited() -> None:
    with pytest.raises(IntegrityError, match="member of 100001 bytes"):
        read(entry("n" * 100_000))


def test_a_bomb_is_stopped_soon() -> None:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = gzip.decompress(archive(Member("bomb", b"")))[:512]
    raw = bytearray(head)
    raw[124:136] = b"37777777777\0"
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        yield squeeze.compress(bytes(raw))
        for _ in range(1000):
            piece = squeeze.compress(bytes(1 << 20))
            sent += len(piece)
            yield piece

    with pytest.raises(IntegrityError, match="beyond all measure"):
        list(read_members(pieces(), Limits()))
    assert sent < 200_000


def test_a_name_that_a_header_cannot_have_is_not_written() -> None:
    with pytest.raises(ValueError, match="a name of 101 bytes"):
        archive(Member("n" * 101, b""))
