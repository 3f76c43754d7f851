"""The console script `oxenfs`: finds the command, and turns what goes wrong into an exit code.

Command modules are imported when their command runs: `--help` shows the texts of the table below.
A module `NAME` of this package has the click command `command`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

import oxenfs
from oxenfs.errors import Conflict, NothingToPublish, OxenfsError, UsageError
from oxenfs_cli import streams
from oxenfs_cli.output import printable
from oxenfs_cli.start import INTERRUPTED

COMMANDS: dict[str, tuple[str, str]] = {
    "mount": ("mount", "Mount a branch or commit as a directory."),
    "umount": ("umount", "Unmount."),
    "mounts": ("mounts", "List what is mounted where."),
    "status": ("status", "List the changes in a mount."),
    "commit": ("commit", "Publish the changes in a mount."),
    "restore": ("restore", "Drop the changes of some paths."),
    "discard": ("discard", "Drop all changes."),
    "checkout": ("checkout", "Let a mount show another branch or commit."),
    "pull": ("pull", "Let a mount show what its branch has got since."),
    "diff": ("diff", "Show the changes in a mount, or what differs between two commits."),
    "log": ("log", "List commits: who, when, why."),
    "branch": ("branch", "List branches."),
    "show": ("show", "Print a file, a folder or the facts of a commit."),
    "frames": ("frames", "List the frames of videos in a mount, or say why there are none."),
    "prefetch": ("prefetch", "Bring files of a mount into the cache before they are read."),
    "pin": ("pin", "Bring files of a mount into the cache and keep them there."),
    "unpin": ("unpin", "Let pinned files be evicted again."),
    "cache": ("cache", "Look after the cache on disk: info, verify, gc, clear."),
    "stats": ("stats", "Print what a mount did, in numbers."),
    "init": ("init", "Make a new local repository."),
    "import": ("import_", "Commit a folder without mounting anything."),
    "serve": ("serve", "Serve local repositories over HTTP, also to the official client."),
    "fsck": ("fsck", "Check every hash of a local repository."),
    "demo": ("demo", "Make a small repository, mount it, walk through it."),
    "doctor": ("doctor", "Say what is missing for mounts here, and how to get it."),
}
"""Each command's module and its line in `oxenfs --help`, in the order shown there."""


class _Commands(click.Group):
    """A group that knows its commands by name, and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"oxenfs_cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(oxenfs.__version__, message="oxenfs %(version)s")
def cli() -> None:
    """Mount any branch or commit of an Oxen repository as a directory.

    An ADDRESS is REPO or REPO@REVISION. REPO is the folder of a local repository; REVISION a
    branch, a commit id or the first 6 or more digits of one.
    """


def main(args: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code; `args` replaces the process's arguments."""
    words = list(sys.argv[1:] if args is None else args)
    with streams.guarded():
        try:
            code = _run(words)
            sys.stdout.flush()
        except streams.OutputError as exc:
            streams.let_go()
            if exc.reader_is_gone:
                return 1
            return _fail(f"cannot write the output: {exc.reason}", 1)
    return code


def _run(words: list[str]) -> int:
    try:
        # Click writes an empty line after ^C and raises Abort.
        result = cli.main(words, prog_name="oxenfs", standalone_mode=False)
    except OxenfsError as exc:
        return _fail(str(exc), _exit_code(exc))
    except click.exceptions.NoArgsIsHelpError as exc:
        exc.show()
        return exc.exit_code
    except click.ClickException as exc:
        return _fail(exc.format_message(), exc.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except streams.OutputError:
        raise
    except Exception as exc:
        if os.environ.get("OXENFS_DEBUG") == "1":
            raise
        return _fail(f"internal error: {type(exc).__name__}: {exc}; {_keep_traceback()}", 1)
    return result if isinstance(result, int) else 0


def _fail(text: str, code: int) -> int:
    print(f"oxenfs: {printable(text)}", file=sys.stderr)
    return code


def _exit_code(exc: OxenfsError) -> int:
    if isinstance(exc, UsageError):
        return 2
    if isinstance(exc, Conflict):
        return 3
    if isinstance(exc, NothingToPublish):
        return 4
    return 1


def _keep_traceback() -> str:
    """Write the current exception's traceback where it can be found, and say where."""
    import traceback

    from oxenfs import places

    try:
        path = places.state_dir() / "last-error.txt"
        path.write_text(traceback.format_exc(), encoding="utf-8", errors="backslashreplace")
    except (OxenfsError, OSError):
        return "OXENFS_DEBUG=1 shows where"
    return f"where it happened is in {path}, or run it with OXENFS_DEBUG=1"


if __name__ == "__main__":
    sys.exit(main())
