"""The post-upload hook of a provider: a program that judges an upload before it is used (spec builder 4.5)."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from nodepool.builder.dib.processes import BuildProcesses, end_all

MARK = "NODEPOOL_IMAGES_DIR"
"""Variable that tells the hooks of a builder, also those of an earlier process: its images directory."""
GRACE = 5.0
"""Seconds that hooks have for cleaning up when they are asked to end."""
SHOWN = 400
"""Most characters of what it said that a reason repeats."""


@dataclass(frozen=True, slots=True)
class HookResult:
    """What the hook says."""

    ok: bool
    reason: str = ""
    """Why not, in one sentence."""
    output: str = ""
    """The end of what it wrote."""


def run_hook(hook: str, provider: str, external_id: str, path: str, timeout: float) -> HookResult:
    """Run ``HOOK PROVIDER EXTERNAL_ID PATH`` without a shell; after ``timeout`` seconds it is killed with its children.

    Blocks; raises nothing for what the hook does.
    """
    variables = {**os.environ, MARK: str(Path(path).parent)}
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                [hook, provider, external_id, path],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return HookResult(False, f"the post-upload-hook {hook} cannot be started: {error.strerror or error}")
        in_time = _ends_within(process, timeout)
        if not in_time:
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        said = _end_of(output)
    if not in_time:
        return HookResult(False, f"the post-upload-hook {hook} did not end within {timeout:g} s", said)
    if code == 0:
        return HookResult(True, output=said)
    last = said.splitlines()[-1] if said else "it wrote nothing"
    return HookResult(False, f"the post-upload-hook {hook} ended with exit status {code}: {last}", said)


def end_hooks(images_dir: Path) -> None:
    """End all hooks of the builder with this images directory, whichever process began them. Blocks."""
    end_all(BuildProcesses(f"{MARK}={images_dir}", ()).find, None, GRACE)


def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    descriptor = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(descriptor)


def _end_of(output: IO[bytes]) -> str:
    output.seek(0, os.SEEK_END)
    output.seek(max(0, output.tell() - SHOWN))
    return output.read().decode("utf-8", "replace").strip()
