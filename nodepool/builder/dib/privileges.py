"""What needs root: ending the build tool's processes, and removing what it mounted or made.

The tool does its own privileged work by ``sudo`` (spec builder 3.6), so the builder's account may use it, too. Each
command has a deadline, since ``umount`` and ``rm`` can hang with the device that is below.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

DEADLINE = 120.0
"""Seconds for one command."""


def run_as_root(command: Sequence[str | Path]) -> str:
    """Run a command as root; returns what is wrong, "" if nothing is."""
    return _run([] if os.geteuid() == 0 else ["sudo", "-n"], command)


def remove_tree(path: Path) -> None:
    """Delete a file or a directory with all that is in it, but nothing of another file system that is mounted there.

    What is gone already is no error. Raises OSError.
    """
    if not path.is_symlink() and not path.exists():
        return
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    command: list[str | Path] = ["rm", "-rf", "--one-file-system", "--", path]
    trouble = _run([], command) and run_as_root(command)
    if trouble or path.exists():
        raise OSError(trouble or f"{path} is still there")


def _run(prefix: list[str], command: Sequence[str | Path]) -> str:
    words = [*prefix, *map(str, command)]
    try:
        result = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, timeout=DEADLINE, check=False, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if result.returncode == 0:
        return ""
    said = result.stderr.decode("utf-8", "replace").strip()
    return f"{' '.join(words)}: {said or f'exit status {result.returncode}'}"
