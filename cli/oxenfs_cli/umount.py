"""`oxenfs umount`: undoes a mount."""

from __future__ import annotations

from pathlib import Path

import click

from oxenfs_cli.mounts import count_changes
from oxenfs_cli.output import print_text, printable


@click.command(name="umount")
@click.argument("directory", metavar="[DIR]", type=click.Path(path_type=Path), required=False)
@click.option(
    "--lazy",
    is_flag=True,
    help="Also if it is in use, or does not answer: who has files open keeps those.",
)
def command(directory: Path | None, lazy: bool) -> None:
    """Unmount DIR; without DIR, the mount that the current folder lies in."""
    import os

    from oxenfs.errors import UsageError
    from oxenfs.mount import mountinfo, registry
    from oxenfs.mount.unmount import unmount

    if directory is None:
        entry = registry.find(Path())
        if entry is None:
            raise UsageError(
                "the current folder does not lie in a mount of oxenfs; name one "
                "(oxenfs mounts lists them)"
            )
        directory = entry.dir
    where = mountinfo.real_path(directory)
    entry = registry.entry_at(where)
    pending = count_changes(entry)
    # Or this process itself would keep it busy.
    os.chdir("/")
    done = unmount(where, lazy=lazy)
    print_text(f"unmounted {printable(done.address)} from {printable(str(done.dir))}")
    if pending is None and entry is not None and entry.overlay is not None:
        changes: str | None = _perhaps(Path(entry.overlay))
    else:
        changes = "1 change" if pending == 1 else f"{pending} changes" if pending else None
    if changes is not None:
        print_text(f"{changes} not committed; mount --overlay there again brings them back")
    if done.lingering:
        users = ", ".join(str(holder) for holder in done.lingering)
        print_text(f"still used by {printable(users)}")


def _perhaps(folder: Path) -> str | None:
    """Return what may be pending in an overlay whose changes nobody counts; None if nothing is."""
    from oxenfs.errors import OxenfsError
    from oxenfs.overlay import home as homes

    home = homes.at(folder)
    if home is None:
        return None
    try:
        with home.opened() as upper:
            return "there are changes" if upper.has_changes() else None
    except OxenfsError:  # it is still served, or damaged
        return "there may be changes"
