"""``tools/environment.sh``: what the tools do on a machine that lacks something."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOBODY = "65534"
MACHINES = ["qemu-system-x86", "qemu-utils", "slirp4netns"]
CONTAINERS = ["slirp4netns", "uidmap"]
ALWAYS = ["openjdk-17-jre-headless", "openssh-client", "openssl"]
"""Of the programs that are looked for by name."""
BUILD = ["sudo", "mmdebstrap", "e2fsprogs"]


@pytest.fixture
def checkout() -> Iterator[Path]:
    """The files that the environment is made of, where any user can read them."""
    directory = Path(tempfile.mkdtemp(prefix="nodepool-checkout-"))
    (directory / "tools").mkdir()
    for name in ("pyproject.toml", "constraints.txt", "tools/environment.sh"):
        shutil.copy(ROOT / name, directory / name)
    for path in (directory, *directory.rglob("*")):
        path.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def _source(checkout: Path, commands: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run commands after sourcing the file, as a user who is not root."""
    demote = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
    return subprocess.run(
        [*demote, "bash", "-euo", "pipefail", "-c", f'source "{checkout}/tools/environment.sh"; {commands}', "tool"],
        env={"PATH": os.environ["PATH"], "HOME": str(checkout), **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_without_root_the_command_to_run_is_said(checkout: Path) -> None:
    result = _source(checkout, "install_packages", ZOOKEEPER_JARS="/nowhere", JAVA_HOME="/nowhere")
    assert result.returncode == 1
    assert "openjdk-17-jre-headless" in result.stdout
    assert "the ZooKeeper server" in result.stdout
    (command,) = (line for line in result.stderr.splitlines() if "apt-get install" in line)
    assert command.strip() == (
        "apt-get update && apt-get install --no-install-recommends openjdk-17-jre-headless libzookeeper-java"
    )


@pytest.mark.parametrize(
    ("what", "more"),
    [
        ("static", []),
        ("qemu", MACHINES),
        ("container", CONTAINERS),
        ("qemu-build", [*BUILD, "kpartx", *MACHINES]),
        ("container-build", [*BUILD, *CONTAINERS]),
        ("images", [*BUILD, "kpartx", *MACHINES, "uidmap", "podman", "runc", "systemd", "logrotate"]),
    ],
)
def test_machines_take_more_and_building_images_still_more(checkout: Path, what: str, more: list[str]) -> None:
    result = _source(checkout, f"has_program() {{ false; }}; with={what} missing_packages")
    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == [*ALWAYS, *more]


def test_with_everything_there_nothing_is_said_or_done(checkout: Path) -> None:
    result = _source(checkout, "install_packages")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_complete_environment_is_known_by_its_stamp(checkout: Path) -> None:
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to("/bin/true")
    stamp = _source(checkout, "environment_stamp").stdout
    (checkout / ".venv" / ".complete").write_text(stamp)
    (checkout / ".venv").chmod(0o755)
    result = _source(checkout, "prepare_environment")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    with (checkout / "constraints.txt").open("a") as constraints:
        constraints.write("# changed\n")
    assert _source(checkout, "environment_stamp").stdout != stamp


def test_a_failed_command_shows_the_end_of_what_it_said(checkout: Path) -> None:
    result = _source(checkout, "quietly bash -c 'echo the cause; exit 3' || echo status $?")
    assert result.stdout == "status 3\n"
    assert "| the cause" in result.stderr
