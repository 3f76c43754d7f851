"""Options about how to speak to a server, the same for every command that may."""

from __future__ import annotations

import re

import click

_SECONDS = re.compile(r"([0-9]{1,5}(?:\.[0-9]{1,3})?) ?s?\Z")

_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?([KMGT]?)(?:i?B)?\Z", re.IGNORECASE)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

insecure = click.option(
    "--insecure", is_flag=True, help="Send the token over plain http to other machines, too."
)


def seconds(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    """Return a time such as `30s`, `30` or `0.5` in seconds; a click callback."""
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
