"""``tools/quickstart.sh`` run by an ordinary user: machines of both kinds, of an image that somebody else has built."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import local_guest, small_system

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "tools" / "quickstart.sh"
RUN_SECONDS = 600.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="to be somebody else needs root: run this test as root"),
]


@dataclass(frozen=True)
class User:
    """Somebody without rights, with a home."""

    name: str
    home: Path
    capability: tuple[str, ...] = ()

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command as this user."""
        become = ["setpriv", f"--reuid={self.name}", f"--regid={self.name}", "--init-groups", *self.capability]
        # By env, as setpriv itself still has root's capabilities when it executes something.
        words = [*become, "env", *command]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "USER": self.name, "LOGNAME": self.name}
        return subprocess.run(
            words,
            cwd=self.home,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
        )

    def processes(self) -> dict[int, str]:
        """Numbers and names of all that runs as this user."""
        user = pwd.getpwnam(self.name).pw_uid
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                state = (path / "stat").read_text().rpartition(")")[2].split()[0]
                if path.stat().st_uid == user and state != "Z":
                    found[int(path.name)] = (path / "comm").read_text().strip()
        return found


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    """A new account, with ids for containers as useradd gives them, and nothing else."""
    home = Path(tempfile.mkdtemp(prefix="nodepool-user-"))
    name = re.sub(r"[^a-z0-9]", "", home.name.lower())
    subprocess.run(["useradd", "--no-create-home", "--home-dir", home, "--user-group", name], check=True)
    shutil.chown(home, name, name)
    found = User(name, home)
    try:
        if found.run(ROOT / ".venv" / "bin" / "python", "--version").returncode:
            # The checkout or its Python lie where others may not look: let this one look, and do nothing more.
            found = User(name, home, ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"))
        yield found
    finally:
        for pid in found.processes():
            os.kill(pid, signal.SIGKILL)
        subprocess.run(["userdel", "--force", name], check=True)
        shutil.rmtree(home)


def test_building_an_image_is_refused_before_anything_begins(user: User) -> None:
    run = user.run(QUICKSTART, "--dir", user.home / "none")
    assert run.returncode == 1
    assert run.stdout == ""
    assert "building an image needs root" in run.stderr
    assert all(remedy in run.stderr for remedy in ("run this as root", "sudo", "--image FILE", "--kind static"))
    assert not (user.home / "none").exists()


@pytest.mark.parametrize("kind", ["container", "qemu"])
def test_machines_are_made_of_an_image_that_there_is(user: User, kind: str) -> None:
    directory = user.home / kind
    options = ("--dir", directory, "--kind", kind)
    run = user.run(QUICKSTART, *options, "--image", _image(user.home, kind))
    try:
        assert run.returncode == 0, run.stdout + run.stderr + _log(directory)
        assert "the node says: zuul on np" in run.stdout
        assert "Start nodepool-builder" not in run.stdout
        assert {"nodepool-launch", "slirp4netns"} <= set(user.processes().values())
        if kind == "container":
            again = user.run(QUICKSTART, *options)
            assert again.returncode == 0, f"the image is not known any more: {again.stdout + again.stderr}"
    finally:
        clean = user.run(QUICKSTART, *options, "--clean")
    assert clean.returncode == 0, clean.stdout + clean.stderr
    assert not directory.exists()
    assert set(user.processes().values()) <= {"podman pause"}, "but for what podman keeps for each of its users"


def _image(directory: Path, kind: str) -> Path:
    """A small image that root has made, where everybody may read it."""
    if kind == "container":
        return small_system.write(directory / "small.tar")
    local_guest.make(directory)
    (directory / "disk.d").mkdir()
    (directory / "vmlinuz").rename(directory / "disk.d" / "vmlinuz")
    (directory / "initrd.gz").rename(directory / "disk.d" / "initrd.img")
    return directory / "disk.raw"


def _log(directory: Path) -> str:
    log = directory / "nodepool-launcher.log"
    return log.read_text() if log.exists() else ""
