"""What mounting needs on this machine, what is missing, and how to get it.

Must run where nearly everything is missing: imports neither pyfuse3 nor trio.
"""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from oxenfs import places
from oxenfs.errors import OxenfsError

_DEVICE = Path("/dev/fuse")
_FUSE_CONF = Path("/etc/fuse.conf")
_FUSECTL = Path("/sys/fs/fuse/connections")
_CAP_SYS_ADMIN = 21
_SPACE_BYTES_MIN = 1024**3
# READDIRPLUS, which pyfuse3 insists on.
_KERNEL_MIN = (3, 9)


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    Attributes:
        ok: whether all is well.
        needed: whether nothing can be mounted unless it is; the others only make things better.
        detail: what was found.
        fix: what to type or change; None where there is nothing to do.
    """

    name: str
    ok: bool
    needed: bool
    detail: str
    fix: str | None = None


def checks() -> list[Check]:
    """Return all findings for the user who runs this, in the order in which to fix them."""
    found = [_kernel(), _device(), _right_to_mount(), _fusermount(), _allow_other(), _background()]
    found += [_module(name, package, needed) for name, package, needed in _MODULES]
    found += [_folder(name, place) for name, place in _FOLDERS]
    return found


def can_mount(found: list[Check]) -> bool:
    """Return whether nothing that is needed is missing."""
    return all(check.ok for check in found if check.needed)


def _kernel() -> Check:
    release = platform.release()
    system = platform.system()
    if system != "Linux":
        return Check("kernel", False, True, f"{system} {release}", "oxenfs runs on Linux")
    version = tuple(int(number) for number in re.findall(r"\d+", release)[:2])
    known = "fuse" in Path("/proc/filesystems").read_text().split()
    detail = f"Linux {release}, " + ("fuse is known" if known else "fuse is not loaded")
    if version < _KERNEL_MIN:
        return Check("kernel", False, True, detail, "a kernel of 3.9 or newer")
    # Opening the device loads the module where it is allowed to be: not needed by itself.
    return Check("kernel", known, False, detail, None if known else "sudo modprobe fuse")


def _device() -> Check:
    name = str(_DEVICE)
    try:
        os.close(os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        fix = "sudo modprobe fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN"
        return Check(name, False, True, "missing", fix)
    except PermissionError as exc:
        mode = stat.S_IMODE(_DEVICE.stat().st_mode)
        if os.geteuid() == 0:
            fix = "start the container with --device /dev/fuse"
        else:
            fix = "sudo chmod 666 /dev/fuse (package fuse3 has udev do it at boot)"
        return Check(name, False, True, f"{exc.strerror} (mode {mode:04o})", fix)
    except OSError as exc:
        return Check(name, False, True, exc.strerror or str(exc), "sudo modprobe fuse")
    return Check(name, True, True, f"usable (mode {stat.S_IMODE(_DEVICE.stat().st_mode):04o})")


def _right_to_mount() -> Check:
    status = _process_status()
    if os.geteuid() == 0:
        able = bool(int(status.get("CapEff", "0"), 16) >> _CAP_SYS_ADMIN & 1)
        detail = "root with CAP_SYS_ADMIN" if able else "root without CAP_SYS_ADMIN"
        fix = None if able else "start the container with --cap-add SYS_ADMIN --device /dev/fuse"
        return Check("right to mount", able, True, detail, fix)
    if status.get("NoNewPrivs") == "1":
        fix = "run it outside of the sandbox that sets no_new_privs"
        return Check("right to mount", False, True, "setuid programs are switched off", fix)
    return Check("right to mount", True, True, "through fusermount3")


def _fusermount() -> Check:
    name, needed = "fusermount3", os.geteuid() != 0
    install = "sudo apt install fuse3"
    path = shutil.which("fusermount3") or shutil.which("fusermount3", path="/usr/bin:/bin")
    if path is None:
        return Check(name, False, needed, "missing", install)
    status = Path(path).stat()
    setuid = status.st_uid == 0 and bool(status.st_mode & stat.S_ISUID)
    if not setuid:
        fix = f"sudo chown root {path} && sudo chmod u+s {path}" if needed else None
        return Check(name, not needed, needed, f"{path}, not setuid root", fix)
    return Check(name, True, needed, f"{path}, setuid root")


def _allow_other() -> Check:
    try:
        lines = _FUSE_CONF.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    allowed = any(line.strip() == "user_allow_other" for line in lines)
    if os.geteuid() == 0:
        return Check("--allow-other", True, False, "allowed, as you are root")
    if allowed:
        return Check("--allow-other", True, False, f"allowed by {_FUSE_CONF}")
    fix = f"only if you need it: echo user_allow_other | sudo tee -a {_FUSE_CONF}"
    return Check("--allow-other", False, False, f"no user_allow_other in {_FUSE_CONF}", fix)


def _background() -> Check:
    name = "limits of a mount"
    if os.geteuid() != 0:
        detail = (
            "stay at the kernel's: 128 KiB of read-ahead, 12 reads in the background "
            "(12 readers of slow files hold up the others)"
        )
        return Check(name, False, False, detail, "mount as root, with --allow-other for users")
    if _FUSECTL.is_dir() and any(_FUSECTL.iterdir()):
        return Check(name, True, False, "can be raised, through fusectl")
    if _FUSECTL.is_dir() and shutil.which("unshare"):
        return Check(name, True, False, "can be raised, through fusectl in a namespace of its own")
    fix = f"sudo mount -t fusectl none {_FUSECTL}"
    return Check(name, False, False, "fusectl is not mounted and there is no unshare", fix)


_MODULES = (
    (
        "pyfuse3",
        "pyfuse3 (it is built: needs libfuse3-dev, pkg-config, python3-dev, a compiler)",
        1,
    ),
    ("trio", "trio", 1),
    ("lmdb", "lmdb", 1),
    ("av", "av", 0),
)


def _module(name: str, package: str, needed: int) -> Check:
    title = f"python module {name}"
    try:
        # Really imported: a module may be there, and the library that it needs not.
        module = importlib.import_module(name)
    except Exception as exc:
        fix = f"{sys.executable} -m pip install {package}"
        return Check(title, False, bool(needed), f"{type(exc).__name__}: {exc}", fix)
    version = getattr(module, "__version__", "")
    return Check(title, True, bool(needed), f"{version} in {module.__file__}".strip())


_FOLDERS: tuple[tuple[str, Callable[[], Path]], ...] = (
    ("cache folder", places.cache_dir),
    ("state folder", places.state_dir),
    ("runtime folder", places.runtime_dir),
)


def _folder(name: str, place: Callable[[], Path]) -> Check:
    try:
        path = place()
    except OxenfsError as exc:
        return Check(name, False, True, str(exc), "give it to this user, or set XDG_*_HOME")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return Check(name, False, True, f"{path} is not writable", f"chmod u+rwx {path}")
    space = os.statvfs(path)
    free = space.f_bavail * space.f_frsize
    detail = f"{path}, {free / 1024**3:.1f} GiB free"
    if free < _SPACE_BYTES_MIN and name == "cache folder":
        return Check(name, False, False, detail, "free some space, or choose --cache-dir")
    return Check(name, True, True, detail)


def _process_status() -> dict[str, str]:
    lines = Path("/proc/self/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
