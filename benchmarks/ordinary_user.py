"""Runs a benchmark as an ordinary user, when root starts it.

The program starts itself again in a mount namespace of its own, as uid 65534. Where /dev/fuse is
root's only (a machine without udev rules), a node that everybody may open lies over it there, so
nothing on the machine itself changes and nothing has to be put back.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import NoReturn

from work import default_folder

USER = 65534

SCRIPT = f"""
set -e
if [ $(( 0$(stat -c %a /dev/fuse) & 6 )) -ne 6 ]; then
    hold=$(mktemp -d)
    mount -t tmpfs -o mode=755 private "$hold"
    mknod -m 666 "$hold/fuse" c 10 229
    mount --bind "$hold/fuse" /dev/fuse
    umount -l "$hold"
    rmdir "$hold"
fi
exec setpriv --reuid {USER} --regid {USER} --clear-groups "$@"
"""


def become_ordinary_user(work: Path | None) -> Path:
    """Return the folder to work in, as an ordinary user; root's process is replaced to get there.

    Args:
        work: the folder for trees that was asked for. A subfolder of it is used, as root's files
            are not the user's.
    """
    folder = (work or default_folder()).resolve()
    if os.geteuid() != 0:
        return folder
    _start_again(folder / "user")


def _start_again(folder: Path) -> NoReturn:
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, USER, USER)
    for parent in folder.parents:
        if not parent.stat().st_mode & 0o001:
            sys.exit(f"{parent} cannot be entered by an ordinary user; give another --work")
    inner = [sys.executable, *_without_work(sys.argv), "--work", str(folder)]
    os.environ["HOME"] = str(folder)
    line = ["unshare", "--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh", *inner]
    sys.stderr.write(f"  as uid {USER}: {shlex.join(inner)}\n")
    os.execvp(line[0], line)


def _without_work(argv: list[str]) -> list[str]:
    kept, skip = [], False
    for word in argv:
        if not skip and word != "--work" and not word.startswith("--work="):
            kept.append(word)
        skip = word == "--work"
    return kept
