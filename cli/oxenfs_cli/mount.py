"""`oxenfs mount`: a branch or commit as a directory."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oxenfs.errors import UsageError
from oxenfs_cli.output import print_text, printable
from oxenfs_cli.server_options import FOLLOW, OptionalSeconds, insecure, seconds, size

if TYPE_CHECKING:
    from oxenfs.mount.daemon import Started


@click.command(name="mount", cls=OptionalSeconds)
@click.argument("address")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--cache-dir",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where trees and bytes are kept between mounts (default: $XDG_CACHE_HOME/oxenfs).",
)
@click.option(
    "--timeout",
    "timeout_s",
    metavar="SECONDS",
    callback=seconds,
    default="30s",
    help="How long a server may be silent before a read fails (default: 30s).",
)
@click.option(
    "--revisions",
    is_flag=True,
    help="Show all branches and commits, as branches/NAME/ and commits/ID/.",
)
@click.option("--frames", metavar="SPEC", help="Show the frames of videos instead of the files.")
@click.option(
    "--follow",
    "follow_s",
    metavar="[SECONDS]",
    callback=seconds,
    help="Move with the branch; ask every SECONDS where it is (default: 10).",
)
@insecure
@click.option(
    "--cache-size",
    "cache_bytes",
    metavar="SIZE",
    callback=size,
    help="How much of what was read is kept on disk, such as 20G; the limit of the whole cache "
    "folder from now on (default: as it was, 20G at first).",
)
@click.option(
    "--verify",
    type=click.Choice(["full"]),
    help="full: hand out no byte of a large file before all of it came and was checked.",
)
@click.option("--offline", is_flag=True, help="Ask no server: show what is in the cache.")
@click.option(
    "--allow-other",
    is_flag=True,
    help="Let other users in too; for an ordinary user, fuse.conf must have user_allow_other.",
)
@click.option(
    "--foreground", is_flag=True, help="Stay in the foreground; Ctrl-C unmounts, warnings show."
)
@click.option(
    "--overlay", is_flag=True, help="Take changes, and keep them until they are committed."
)
@click.option(
    "--overlay-of",
    metavar="OLDDIR",
    type=click.Path(path_type=Path),
    help="Take the changes that were made at OLDDIR along to DIR.",
)
@click.option("-v", "--verbose", is_flag=True, help="Also say which process serves, and its log.")
def command(
    address: str,
    directory: Path,
    cache_dir: Path | None,
    timeout_s: float,
    revisions: bool,
    frames: str | None,
    follow_s: float | None,
    insecure: bool,
    cache_bytes: int | None,
    verify: str | None,
    offline: bool,
    allow_other: bool,
    foreground: bool,
    overlay: bool,
    overlay_of: Path | None,
    verbose: bool,
) -> None:
    """Mount ADDRESS (REPO or REPO@REVISION) on the empty folder DIR, read-only or with an overlay.

    Returns when DIR answers; a process in the background serves it until `oxenfs umount DIR`.
    """
    from oxenfs import places
    from oxenfs.address import parse
    from oxenfs.mount import building, daemon, mountinfo
    from oxenfs.mount.served import Options
    from oxenfs.views.plan import Plan

    # Absolute from here on: the process that serves has `/` as its current folder.
    cache = cache_dir.expanduser().absolute() if cache_dir else places.cache_dir()
    if frames is not None:
        _check_spec(frames)
    changes = None
    if overlay or overlay_of is not None:
        from oxenfs.overlay.plan import OverlayPlan

        if frames is not None or revisions:
            raise UsageError("--frames and --revisions show what cannot be changed: no --overlay")
        if follow_s is not None:
            raise UsageError("--follow moves a read-only mount; with an overlay: oxenfs pull")
        moved_from = None if overlay_of is None else mountinfo.real_path(overlay_of)
        changes = OverlayPlan(mountinfo.real_path(directory), moved_from)
    plan = Plan(
        address=parse(address),
        cache_dir=cache,
        insecure=insecure,
        timeout_s=timeout_s,
        revisions=revisions,
        frames=frames,
        cache_bytes=cache_bytes,
        verify_full=verify == "full",
        offline=offline,
        overlay=changes,
    )
    if revisions:
        if plan.address.rev is not None:
            raise UsageError(f"with --revisions all are shown: leave out @{plan.address.rev}")
        # Branches move; what is below a commit does not.
        follow_s = float(FOLLOW) if follow_s is None else follow_s
    build = partial(building.build, plan, follow_s)
    options = Options(allow_other=allow_other, writable=changes is not None)
    if foreground:
        daemon.run(directory, build, options, lambda started: _print(started, verbose))
    else:
        _print(daemon.start(directory, build, options), verbose)


def _check_spec(text: str) -> None:
    from oxenfs.errors import NotFound
    from oxenfs.frames.spec import parse

    try:
        parse(text)
    except NotFound as exc:
        raise UsageError(str(exc)) from exc


def _print(started: Started, verbose: bool) -> None:
    import sys

    revision = started.revision or started.branch
    what = started.repo if revision is None else f"{started.repo}@{revision}"
    commit = f" (commit {started.commit[:10]})"
    print_text(f"mounted {printable(what)}{commit} on {printable(started.dir)}")
    if started.note is not None:
        print_text(printable(started.note))
    if verbose:
        print_text(f"process {started.pid}, log {printable(started.log)}")
    sys.stdout.flush()
