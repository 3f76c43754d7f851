"""Files on their way to a server: pieces of exactly the right size, and forms of several files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

from oxenfs.errors import SourceChanged
from oxenfs.names import quoted

_PIECE_BYTES = 1 << 20


def sendable(path: str) -> bool:
    """Return whether `path` can be a multipart file name without being changed on the way."""
    return path.isprintable() and '"' not in path and "\\" not in path


def read_exactly(source: BinaryIO, size: int, path: str) -> bytes:
    """Return the next `size` bytes of `source`, which may give fewer at a time.

    Raises:
        SourceChanged: it ends before.
    """
    parts = []
    while size > 0:
        data = source.read(min(size, _PIECE_BYTES))
        if not data:
            raise SourceChanged(
                f"{quoted(path)} became shorter while it was read; nothing was committed"
            )
        parts.append(data)
        size -= len(data)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def multipart(files: Sequence[tuple[str, bytes]], boundary: bytes) -> Iterator[bytes]:
    """Yield a form of whole files, in pieces; their names must be `sendable`."""
    for path, content in files:
        yield b"--" + boundary + b"\r\n"
        yield f'Content-Disposition: form-data; name="file[]"; filename="{path}"\r\n'.encode()
        yield b"Content-Type: application/octet-stream\r\n\r\n"
        yield content
        yield b"\r\n"
    yield b"--" + boundary + b"--\r\n"
