"""What Oxen notes about a file beside its bytes: data type, MIME type, extension, cheap metadata.

The official client looks at contents for this; here the name decides, and the first bytes only
where the name says nothing. Metadata is always optional in the format.
"""

from __future__ import annotations

import functools
import json
import mimetypes
from typing import Any, NamedTuple

from oxenfs.model import Kind, ObjectHash
from oxenfs.remote.hashing import little, xxh3

_TABULAR = {"csv", "tsv", "parquet", "jsonl", "ndjson", "arrow"}
_BY_EXTENSION = {
    "avif": "image/avif",
    "csv": "text/csv",
    "flac": "audio/flac",
    "jsonl": "application/x-ndjson",
    "m4a": "audio/mp4",
    "m4v": "video/x-m4v",
    "md": "text/markdown",
    "mkv": "video/x-matroska",
    "ndjson": "application/x-ndjson",
    "npy": "application/octet-stream",
    "parquet": "application/vnd.apache.parquet",
    "toml": "text/toml",
    # `.ts` is a transport stream far more often than a Qt translation in a data set.
    "ts": "video/mp2t",
    "tsv": "text/tab-separated-values",
    "webm": "video/webm",
    "webp": "image/webp",
    "yaml": "text/yaml",
    "yml": "text/yaml",
}
_TEXT_APPLICATIONS = {
    "application/json",
    "application/javascript",
    "application/x-ndjson",
    "application/x-sh",
    "application/xml",
}
_SNIFF_BYTES = 4096
_types = mimetypes.MimeTypes()


class Description(NamedTuple):
    """What goes into a file's node."""

    data_type: str
    mime_type: str
    extension: str
    metadata: Any
    metadata_hash: ObjectHash | None


def describe(name: str, head: bytes, whole: bool) -> Description:
    """Return the description of a file.

    Args:
        name: its last path component.
        head: its first bytes.
        whole: whether `head` is all of it; only then text is counted.
    """
    stem, _, extension = name.rpartition(".")
    # Leading dots are part of the name: `.bashrc` has no extension.
    extension = extension.lower() if stem.strip(".") else ""
    mime = _mime_type(extension)
    if mime is None:
        mime = "text/plain" if _looks_like_text(head[:_SNIFF_BYTES]) else "application/octet-stream"
    data_type = _data_type(mime, extension)
    metadata: Any = None
    metadata_hash = None
    if data_type == "text" and whole:
        counts = _count_text(head)
        if counts is not None:
            metadata = [counts]
            shown = {"text": {"num_lines": counts[0], "num_chars": counts[1]}}
            metadata_hash = xxh3(json.dumps(shown, separators=(",", ":")).encode())
    return Description(data_type, mime, extension, metadata, metadata_hash)


def combined_hash(hash: ObjectHash, metadata_hash: ObjectHash | None) -> ObjectHash:
    """Return the hash of content and metadata together."""
    return hash if metadata_hash is None else xxh3(little(hash), little(metadata_hash))


# Plain numbers by the bytes on the wire: whoever decodes a tree looks here a million times.
KINDS = {kind.name.lower().encode(): int(kind) for kind in Kind if kind is not Kind.DIRECTORY}


@functools.lru_cache(maxsize=1024)
def _mime_type(extension: str) -> str | None:
    return _BY_EXTENSION.get(extension) or _types.guess_type(f"name.{extension}")[0]


def _data_type(mime: str, extension: str) -> str:
    if extension in _TABULAR:
        return "tabular"
    major = mime.partition("/")[0]
    if major in ("image", "video", "audio", "text"):
        return major
    return "text" if mime in _TEXT_APPLICATIONS else "binary"


def _looks_like_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as exc:
        # A character cut in two at the end of what we look at is no sign of binary data.
        return len(head) == _SNIFF_BYTES and exc.start >= len(head) - 3
    return True


def _count_text(content: bytes) -> list[int] | None:
    try:
        return [content.count(b"\n") + 1, len(content.decode())]
    except UnicodeDecodeError:
        return None
