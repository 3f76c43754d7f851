"""Options about how to speak to a server, the same for every command that may."""

from __future__ import annotations

import re

import click

_SECONDS = re.compile(r"([0-9]{1,5}(?:\.[0-9]{1,3})?) ?s?\Z")

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
