"""The post-upload hook (spec builder 4.5)."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodepool.builder.dib.processes import process_of
from nodepool.builder.hook import run_hook
from tests.zookeeper import eventually


@pytest.fixture
def hook(tmp_path: Path) -> Path:
    return tmp_path / "hook"


def write(hook: Path, text: str) -> str:
    hook.write_text(f"#!/bin/bash\n{text}\n")
    hook.chmod(0o755)
    return str(hook)


def test_the_hook_is_told_provider_image_and_file(hook: Path) -> None:
    result = run_hook(write(hook, 'printf "%s|" "$@"; echo; echo two >&2'), "prov", "id 1", "/a b.raw", 60)
    assert result.ok
    assert result.output == "prov|id 1|/a b.raw|\ntwo"


def test_a_refusal_says_what_the_hook_said_last(hook: Path) -> None:
    result = run_hook(write(hook, "echo checking; echo no boot; exit 3"), "prov", "1", "/f", 60)
    assert not result.ok
    assert result.reason == f"the post-upload-hook {hook} ended with exit status 3: no boot"


def test_a_silent_refusal(hook: Path) -> None:
    assert run_hook(write(hook, "exit 1"), "prov", "1", "/f", 60).reason.endswith("exit status 1: it wrote nothing")


def test_a_hook_that_hangs_is_killed_with_its_children(hook: Path, tmp_path: Path) -> None:
    child = tmp_path / "child"
    program = write(hook, f'trap "" TERM; (trap "" TERM; echo $BASHPID >{child}; sleep 1000) & wait; sleep 1000')
    result = run_hook(program, "prov", "1", "/f", 0.5)
    assert result.reason == f"the post-upload-hook {hook} did not end within 0.5 s"
    eventually(lambda: process_of(int(child.read_text())) is None)


def test_a_hook_that_is_not_there(tmp_path: Path) -> None:
    result = run_hook(str(tmp_path / "none"), "prov", "1", "/f", 1)
    assert result.reason == f"the post-upload-hook {tmp_path}/none cannot be started: No such file or directory"
