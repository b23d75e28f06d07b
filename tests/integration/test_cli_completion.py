"""Completion of the command line, as bash asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import Commands
from tests.zookeeper import Place

ASK = """
eval "$(nodepool completion bash)"
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=63
_python_argcomplete nodepool
echo "${COMPREPLY[@]}"
"""


@pytest.fixture
def nodepool(tmp_path: Path, zookeeper: Place) -> Commands:
    return Commands(tmp_path, zookeeper)


def completed(line: str) -> list[str]:
    """What bash would offer after this beginning of a command line."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", ASK, "bash", line], capture_output=True, text=True, timeout=60, env={**os.environ, "PATH": path}
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_commands_without_the_words_of_old_releases() -> None:
    found = completed("nodepool ")
    assert {"list", "explain", "image-build"} <= set(found)
    assert "image-update" not in found
    assert completed("nodepool image-p") == ["image-pause"]


def test_options_and_states() -> None:
    assert completed("nodepool --d") == ["--debug"]
    assert completed("nodepool list --pro") == ["--provider"]
    assert set(completed("nodepool request-list --state ")) >= {"requested", "pending", "fulfilled", "failed"}


def test_names_of_the_configuration(nodepool: Commands) -> None:
    nodepool.write(labels=[{"name": "jammy"}, {"name": "noble"}])
    assert completed(f"nodepool -c {nodepool.file} list --label ") == ["jammy", "noble"]
    assert completed(f"nodepool -c {nodepool.file} alien-list ") == ["static-1"]
    nodepool.file.write_text("providers: [")
    assert completed(f"nodepool -c {nodepool.file} info ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_a_shell_has_to_run(nodepool: Commands, shell: str) -> None:
    assert "nodepool" in nodepool.run("completion", shell).stdout


def test_a_shell_that_we_do_not_know(nodepool: Commands) -> None:
    assert "choose from 'bash', 'zsh', 'fish'" in nodepool.run("completion", "sh", status=2).stderr
