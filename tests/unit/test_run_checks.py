"""``tools/run_checks.py``, the steps behind ``tools/test.sh``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools import run_checks

PROGRAM = Path(run_checks.__file__)
END_SECONDS = 30.0


def _names(*arguments: str) -> list[str]:
    return [step.name for step in run_checks.steps(*run_checks.parse(list(arguments)))]


def test_all_steps_run_without_pytest_options_and_tests_come_last() -> None:
    for arguments in ([], ["--long", "500"]):
        assert _names(*arguments) == [
            "format",
            "lint",
            "types",
            "documentation",
            "man pages",
            "openstack",
            "on openstack",
            "tests",
        ]
    assert _names("--quick") == ["format", "lint", "types", "documentation", "man pages", "tests"]


def test_pytest_options_select_only_the_tests() -> None:
    (step,) = run_checks.steps(*run_checks.parse(["-k", "mirror", "tests/unit", "--long", "7", "--quick"]))
    assert step.command == ("pytest", "-m", "not slow", "-k", "mirror", "tests/unit")
    assert step.environment == {"NODEPOOL_SIMULATION_SEEDS": "7"}


@pytest.mark.parametrize("arguments", [["--long"], ["--long", "many"], ["--long", "0"]])
def test_wrong_options_of_ours_get_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run_checks.parse(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("usage: tools/test.sh")


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=END_SECONDS)


def test_wrong_options_of_pytest_get_the_usage_too() -> None:
    result = _run("--no-such-option")
    assert result.returncode == 2
    assert "usage: tools/test.sh" in result.stderr


def test_exit_code_and_closing_line_are_those_of_pytest(tmp_path: Path) -> None:
    (tmp_path / "test_two.py").write_text("def test_a():\n    pass\n\n\ndef test_b():\n    assert False\n")
    result = _run(str(tmp_path))
    assert result.returncode == 1
    assert "1 failed, 1 passed in " in result.stdout


def test_the_summary_names_each_failure_and_ends_with_the_closing_line_of_pytest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lint, tests = (run_checks.Step(name, ("true",)) for name in ("lint", "tests"))
    run_checks.summarize(
        [run_checks.Outcome(lint, 1, 2.0, "Found 1 error."), run_checks.Outcome(tests, 0, 61.5, "7 passed in 61.20s")]
    )
    assert capsys.readouterr().out.splitlines()[1:] == [
        "=== summary",
        "lint               2.0 s  FAILED (exit code 1)",
        "tests             61.5 s  ok",
        "7 passed in 61.20s",
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    note = tmp_path / "pid"
    (tmp_path / "test_long.py").write_text(
        "import subprocess\n\n\ndef test_long():\n"
        "    child = subprocess.Popen(['sleep', '600'])\n"
        f"    open({str(note)!r}, 'w').write(f'{{child.pid}} ')\n"
        "    child.wait()\n"
    )
    process = subprocess.Popen([sys.executable, str(PROGRAM), str(tmp_path)], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + END_SECONDS
    while not (note.exists() and note.read_text().endswith(" ")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(END_SECONDS) == 128 + number
    child = int(note.read_text())
    while Path(f"/proc/{child}/stat").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
