"""Options about how to speak to a server, the same for every command that may."""

from __future__ import annotations

import re
from typing import overload

import click

_SECONDS = re.compile(r"([0-9]{1,5}(?:\.[0-9]{1,3})?) ?s?\Z")

_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?([KMGT]?)(?:i?B)?\Z", re.IGNORECASE)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

insecure = click.option(
    "--insecure", is_flag=True, help="Send the token over plain http to other machines, too."
)


FOLLOW = "10"
"""What `--follow` alone means, in seconds."""


class OptionalSeconds(click.Command):
    """A command whose `--follow` may stand without a value, also before an argument."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give a lone `--follow` its value."""
        given: list[str] = []
        for number, word in enumerate(args):
            if word == "--":
                given += args[number:]
                break
            given.append(word)
            following = args[number + 1] if number + 1 < len(args) else ""
            if word == "--follow" and not _SECONDS.match(following):
                given[-1] = f"--follow={FOLLOW}"
        return super().parse_args(ctx, given)


@overload
def seconds(_ctx: click.Context, _param: click.Parameter, value: str) -> float: ...
@overload
def seconds(_ctx: click.Context, _param: click.Parameter, value: None) -> None: ...
def seconds(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """Return a time such as `30s`, `30` or `0.5` in seconds; a click callback."""
    if value is None:
        return None
    match = _SECONDS.match(value)
    found = float(match[1]) if match else 0.0
    if not found:
        raise click.BadParameter(f"{value!r} is no time: write seconds, such as 30 or 30s")
    return found


def size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """Return a size such as `20G`, `500M` or `0` in bytes; a click callback."""
    if value is None:
        return None
    match = _SIZE.match(value)
    if match is None:
        raise click.BadParameter(f"{value!r} is no size: write a number and K, M, G or T")
    return int(float(match[1]) * _UNITS[match[2].upper()])
