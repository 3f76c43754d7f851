"""`oxenfs demo`: a small repository made, mounted, looked at and unmounted again.

Each step is a real command, run as a user would and shown before its output. Whatever happens,
interruption included, nothing stays mounted or running.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import click

from oxenfs.errors import OxenfsError, UsageError
from oxenfs_cli.output import print_text, printable, size_text

_CLIP = "clips/bounce.mp4"
_COMMAND_S = 60
_CLEAN_UP_S = 10
_SHOWN = 9

_ENDING = (signal.SIGTERM, signal.SIGHUP)
"""These end the demo as Ctrl-C does: with the unmount."""

Handler = Callable[[int, object], NoReturn] | signal.Handlers


@click.command(name="demo")
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.pass_context
def command(ctx: click.Context, directory: Path | None) -> None:
    """Make a small repository of clips, mount it, walk through what there is, unmount it.

    In DIR, which must be new or empty, the repository stays to be played with. Without DIR
    everything happens in a temporary folder and is removed at the end.
    """
    if not _can_mount():
        print_text("nothing can be mounted here yet; this is what `oxenfs doctor` says:")
        subprocess.run([sys.executable, "-m", "oxenfs_cli", "doctor"], check=False)
        ctx.exit(1)
    with _signals(_interrupt, *_ENDING), _workplace(directory) as place:
        demo = _Demo(place)
        try:
            demo.run()
        finally:
            # A second Ctrl-C must not stop what undoes the mount.
            with _signals(signal.SIG_IGN, signal.SIGINT, *_ENDING):
                demo.clean_up()
    if directory is None:
        print_text("To keep the repository, and to try things in it yourself:")
        print_text("  oxenfs demo ~/oxen-demo")
    else:
        print_text("The repository is still there. To look around in it yourself:")
        data, mount = (shlex.quote(str(place / name)) for name in ("data", "mnt"))
        print_text(f"  oxenfs mount {data}@main {mount}     # then ls, cp, python, any player")
        print_text(f"  oxenfs umount {mount}")
    print_text("Your own files: oxenfs init REPO; oxenfs import FOLDER REPO@main -m MESSAGE")


class _Demo:
    """One walk through oxenfs in a folder of its own.

    Attributes:
        originals: the files as they were made.
        data: the repository.
        mount: the mount point.
    """

    def __init__(self, place: Path) -> None:
        self.originals = place / "originals"
        self.data = place / "data"
        self.mount = place / "mnt"
        self._place = place
        self._mounted = False

    def run(self) -> None:
        """Go through all of it; raise `OxenfsError` at the first thing that is not as it should."""
        self._make_originals()
        self._step("A repository, and the files as its first commit")
        self._oxenfs("init", "data")
        self._oxenfs("import", "originals", "data@main", "-m", "Four clips and stills", by="Ada")
        self._step("Somebody else corrects a label: a second commit")
        labels = self.originals / "labels.csv"
        labels.write_text(labels.read_text().replace(",spin,", ",pinwheel,"))
        self._oxenfs("import", "originals", "data@main", "-m", "Call a pinwheel one", by="Grace")
        self._step("The branch as a directory; its bytes are read, and checked, when asked for")
        self.mount.mkdir()
        self._mounted = True
        self._oxenfs("mount", "data@main", "mnt")
        self._show_tree()
        self._compare()
        self._read_from_the_middle()
        self._show_frames()
        self._who_changed("labels.csv", "Grace", "Call a pinwheel one")
        self._who_changed(_CLIP, "Ada", "Four clips and stills")
        self._oxenfs("log", "mnt")
        self._step("The same branch with an overlay: write into it, then commit")
        self._umount()
        self._mounted = True
        self._oxenfs("mount", "data@main", "mnt", "--overlay")
        self._write()
        self._oxenfs("status", "mnt")
        self._oxenfs("commit", "mnt", "-m", "Say turning", by="Alan")
        self._who_changed("labels.csv", "Alan", "Say turning")
        self._step("Done with it")
        self._umount()
        print_text("")

    def clean_up(self) -> None:
        """Unmount, gently and then not so gently. Works at any point of `run`."""
        if not self._mounted:
            return
        from oxenfs.mount import mountinfo, registry

        # A daemon that an interrupted `oxenfs mount` has started may be about to mount.
        path, until = mountinfo.real_path(self.mount), time.monotonic() + _CLEAN_UP_S
        while time.monotonic() < until:
            if _is_mounted(path):
                print("oxenfs: unmounting", file=sys.stderr)
                call = [sys.executable, "-m", "oxenfs_cli", "umount", "--lazy", str(path)]
                # Out of reach of another Ctrl-C at the terminal.
                subprocess.run(call, timeout=_COMMAND_S, check=False, start_new_session=True)
            elif not registry.is_alive(path):
                return
            time.sleep(0.1)
        subprocess.run(["fusermount3", "-u", "-z", str(path)], check=False)

    def _make_originals(self) -> None:
        from oxenfs.samples import make_samples

        started = time.monotonic()
        files = make_samples(self.originals)
        size = size_text(sum(path.stat().st_size for path in files))
        took = time.monotonic() - started
        where = printable(str(self._place))
        print_text(f"Drew and encoded {len(files)} sample files, {size}, in {took:.1f} s")
        print_text(f"All of this happens in {where}")

    def _show_tree(self) -> None:
        print_text("$ find mnt -type f -printf '%9s %TF  %P\\n' | sort -k3")
        files = _files(self.mount)
        for path in files[:_SHOWN]:
            status = path.stat()
            day = time.strftime("%Y-%m-%d", time.localtime(status.st_mtime))
            print_text(f"{status.st_size:9} {day}  {path.relative_to(self.mount)}")
        if len(files) > _SHOWN:
            print_text(f"... {len(files) - _SHOWN} more")

    def _compare(self) -> None:
        print_text("$ diff -r originals mnt")
        originals, mounted = _files(self.originals), _files(self.mount)
        names = [path.relative_to(self.originals) for path in originals]
        if names != [path.relative_to(self.mount) for path in mounted]:
            _fail("the mount does not have the same files as the originals")
        total = 0
        for one, other in zip(originals, mounted, strict=True):
            content = other.read_bytes()
            if one.read_bytes() != content:
                _fail(f"{other} is not equal to {one}")
            total += len(content)
        print_text(f"(nothing: {len(names)} files, {size_text(total)}, are equal byte for byte)")

    def _read_from_the_middle(self) -> None:
        self._step("Programs see plain files")
        print_text(f'>>> clip = open("mnt/{_CLIP}", "rb"); clip.seek(100_000); clip.read(8).hex()')
        pieces = []
        for folder in (self.mount, self.originals):
            with (folder / _CLIP).open("rb") as clip:
                clip.seek(100_000)
                pieces.append(clip.read(8))
        print_text(repr(pieces[0].hex()))
        if pieces[0] != pieces[1]:
            _fail(f"reading {_CLIP} at an offset does not give the original's bytes")

    def _show_frames(self) -> None:
        self._step("Videos are folders of frames too, decoded when they are read")
        folder = f".frames/fps=1,size=160x120/{_CLIP}"
        print_text(f"$ ls mnt/{folder}")
        names = sorted(path.name for path in (self.mount / folder).iterdir())
        print_text("  ".join(names))
        print_text(f"$ wc -c < mnt/{folder}/{names[1]}")
        picture = (self.mount / folder / names[1]).read_bytes()
        print_text(str(len(picture)))
        if len(names) != 4 or picture[:3] != b"\xff\xd8\xff":
            _fail("four seconds at fps=1 are four JPEG files; the mount shows something else")
        array = f".frames/fps=1,size=160x120/{_CLIP}.npy"
        print_text(f'>>> numpy.load("mnt/{array}", mmap_mode="r").shape')
        import numpy as np

        shape = np.load(self.mount / array, mmap_mode="r").shape
        print_text(str(shape))
        if shape != (4, 120, 160, 3):
            _fail("the array of the frames has another shape")

    def _write(self) -> None:
        print_text("$ sed -i s/pinwheel/turning/ mnt/labels.csv; cp mnt/README.txt mnt/stills/")
        labels = self.mount / "labels.csv"
        labels.write_text(labels.read_text().replace("pinwheel", "turning"))
        shutil.copy(self.mount / "README.txt", self.mount / "stills")

    def _umount(self) -> None:
        self._oxenfs("umount", "mnt")
        self._mounted = False
        if self.mount.is_mount():
            _fail("the mount is still there after `oxenfs umount`")

    def _who_changed(self, name: str, author: str, message: str) -> None:
        """Show the xattrs that tell who changed a file last, and check them."""
        print_text(f"$ getfattr -d mnt/{name}")
        shown = {}
        for attribute in ("commit", "author", "date", "message"):
            value = os.getxattr(self.mount / name, f"user.oxen.{attribute}").decode()
            shown[attribute] = value
            print_text(f'user.oxen.{attribute}="{printable(value)}"')
        right = shown["author"].startswith(f"{author} <") and shown["message"] == message
        if not right:
            _fail(f"{name} was last changed by {author}: {message}; the mount says otherwise")

    def _step(self, title: str) -> None:
        print_text(f"\n# {title}")

    def _oxenfs(self, *words: str, by: str | None = None) -> None:
        """Run one command in the demo's folder, and show it; raise if it fails."""
        print_text(f"$ oxenfs {shlex.join(words)}" + (f"        # as {by}" if by else ""))
        sys.stdout.flush()
        call = [sys.executable, "-m", "oxenfs_cli", *words]
        # Changes of an overlay are kept beside the repository, not among the user's own.
        environment = {
            **os.environ,
            "OXEN_CONFIG_DIR": str(self._author_folder(by or "Ada")),
            "XDG_DATA_HOME": str(self._place / ".changes"),
        }
        try:
            done = subprocess.run(
                call, cwd=self._place, env=environment, timeout=_COMMAND_S, check=False
            )
        except subprocess.TimeoutExpired as exc:
            raise OxenfsError(f"`oxenfs {words[0]}` did not end in {_COMMAND_S} s") from exc
        if done.returncode:
            _fail(f"`oxenfs {words[0]}` failed with exit code {done.returncode}")

    def _author_folder(self, name: str) -> Path:
        """Return a configuration folder of the official client that names an author."""
        folder = self._place / ".authors" / name
        folder.mkdir(parents=True, exist_ok=True)
        user = f'name = "{name}"\nemail = "{name.lower()}@example.org"\n'
        (folder / "user_config.toml").write_text(user)
        return folder


def _can_mount() -> bool:
    from oxenfs.mount.doctor import can_mount, checks

    return can_mount(checks())


@contextmanager
def _workplace(directory: Path | None) -> Iterator[Path]:
    """Give the folder to work in; a temporary one is removed at the end."""
    if directory is None:
        # `cleanup` runs after the unmount: it never deletes through a mount.
        with tempfile.TemporaryDirectory(prefix="oxenfs-demo-") as temporary:
            yield Path(temporary)
        return
    place = directory.absolute()
    try:
        place.mkdir(parents=True, exist_ok=True)
        if any(place.iterdir()):
            raise UsageError(f"{place} is not empty; the demo wants a folder of its own")
    except OSError as exc:
        raise OxenfsError(f"cannot use {place}: {exc.strerror}") from exc
    yield place


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def _signals(handler: Handler, *numbers: signal.Signals) -> Iterator[None]:
    """Have `handler` for these signals inside, and what was there before afterwards."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _is_mounted(path: Path) -> bool:
    """Return whether a file system of ours is at `path` (no symlinks); never looks into it."""
    from oxenfs.mount import mountinfo

    return any(mounted.ours for mounted in mountinfo.layers(path))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _fail(text: str) -> NoReturn:
    raise OxenfsError(f"the demo failed: {text}")
