"""What ``tools/openstack.sh`` refuses before it does anything: a slip must not forget a whole cloud."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "openstack.sh"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["reset", "keystone"], "reset takes nothing more, not 'keystone'"),
        (["start", "glance", "keystone"], "start takes at most one word more"),
        (["start", "keystne"], "there is no service 'keystne': mariadb "),
        (["stop", "-f"], "there is no service '-f'"),
        (["start", "--whole"], "start has no option '--whole'"),
        (["restart"], "there is no command 'restart'"),
        ([], "usage: tools/openstack.sh COMMAND"),
    ],
)
def test_wrong_words_are_refused(words: list[str], message: str) -> None:
    done = subprocess.run([TOOL, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
