"""The smallest RocksDB directory: three files that a RocksDB library opens as a database.

`CURRENT` names the manifest; the manifest has one version edit, which names a log; the log has one
batch of all pairs. Both are in the log format: blocks of 32 KiB, each piece of a record with a
masked CRC-32C in front.

Source: RocksDB's log_format.h, version_edit.h, write_batch.cc; opened by the official client.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

_BLOCK_BYTES = 32 * 1024
_HEADER = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_CRC_MASK = 0xA282EAD8


def database_files(pairs: Mapping[bytes, bytes]) -> dict[str, bytes]:
    """Return the files, by name, of a database that holds `pairs`."""
    edit = b"".join(
        (
            _varint(1) + _counted(b"leveldb.BytewiseComparator"),
            _varint(2) + _varint(4),  # number of the log
            _varint(9) + _varint(0),  # number of the previous log: none
            _varint(3) + _varint(6),  # next file
            _varint(4) + _varint(0),  # last sequence
        )
    )
    batch = [struct.pack("<QI", 1, len(pairs))]
    batch += [b"\x01" + _counted(key) + _counted(value) for key, value in pairs.items()]
    return {
        "CURRENT": b"MANIFEST-000005\n",
        "MANIFEST-000005": _logged(edit),
        "000004.log": _logged(b"".join(batch)),
    }


def _logged(record: bytes) -> bytes:
    out = bytearray()
    at = 0
    while at < len(record) or not out:
        left = _BLOCK_BYTES - len(out) % _BLOCK_BYTES
        if left < _HEADER.size:
            out += bytes(left)
            continue
        piece = record[at : at + left - _HEADER.size]
        first, last = at == 0, at + len(piece) == len(record)
        kind = (_FULL if last else _FIRST) if first else (_LAST if last else _MIDDLE)
        crc = _crc32c(bytes([kind]) + piece)
        masked = (((crc >> 15) | (crc << 17)) + _CRC_MASK) & 0xFFFFFFFF
        out += _HEADER.pack(masked, len(piece), kind) + piece
        at += len(piece)
    return bytes(out)


def _counted(value: bytes) -> bytes:
    return _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _crc_table()


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    table = _TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF
