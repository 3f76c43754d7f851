"""Folders of files drawn at random, with names that are hard to get through HTTP."""

from __future__ import annotations

import random
from pathlib import Path

# Names with % ? # * [ are refused or garbled by the client itself, before they get to a server.
_LETTERS = "abcXYZ019 -_.,;=()!~'@$&+éßñ中🐂"
BIG_BYTES = 11 * 1024 * 1024


def file_name(drawn: random.Random) -> str:
    while True:
        name = "".join(drawn.choices(_LETTERS, k=drawn.randint(1, 20))).strip(" .-~")
        if name and name.lower() != "oxen":
            return name + drawn.choice(["", ".txt", ".bin", ".md", ".jpg"])


def content(drawn: random.Random) -> bytes:
    kind = drawn.randrange(4)
    if kind == 0:
        return b""
    if kind == 1:
        return "\n".join(file_name(drawn) for _ in range(drawn.randint(1, 50))).encode()
    return drawn.randbytes(drawn.choice([1, 100, 5000, 300_000]))


def files(drawn: random.Random, count: int = 12) -> dict[str, bytes]:
    """Return files by path, some of them in folders, no path below another's file."""
    found: dict[str, bytes] = {}
    folders = ["", f"{file_name(drawn)} d", f"{file_name(drawn)} d/{file_name(drawn)} e"]
    while len(found) < count:
        folder = drawn.choice(folders)
        path = f"{folder}/{file_name(drawn)}" if folder else file_name(drawn)
        if not path.endswith((" d", " e")):
            found[path] = content(drawn)
    return found


def write(folder: Path, tree: dict[str, bytes]) -> None:
    for path, data in tree.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
