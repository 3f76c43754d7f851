"""`oxenfs doctor`: what is missing for mounts, and how to get it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from oxenfs_cli.output import print_json, print_text, printable

if TYPE_CHECKING:
    from oxenfs.mount.doctor import Check


@click.command(name="doctor")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(as_json: bool) -> int:
    """Say what mounting needs here, what is missing, and how to get it.

    Exits with 0 if something can be mounted, with 1 if not.
    """
    from dataclasses import asdict

    from oxenfs.mount.doctor import can_mount, checks

    found = checks()
    if as_json:
        print_json([asdict(check) for check in found])
    else:
        for check in found:
            _print(check)
    return 0 if can_mount(found) else 1


def _print(check: Check) -> None:
    mark = "ok     " if check.ok else ("MISSING" if check.needed else "note   ")
    print_text(f"{mark}  {check.name}: {printable(check.detail)}")
    if check.fix and not check.ok:
        print_text(f"         {printable(check.fix)}")
