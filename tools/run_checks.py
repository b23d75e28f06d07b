"""The steps of ``tools/test.sh``: run each, time it, go on after a failure, sum up at the end.

A step runs in a process group of its own, which is ended as a whole when this program is interrupted. Pytest's output
comes last, and its closing line is repeated as the very last line.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[1]
SEEDS = "NODEPOOL_SIMULATION_SEEDS"
WORKERS = "3"
"""Processes that run tests at the same time."""
ON_OPENSTACK = "tests/openstack"
PYTEST_USAGE_ERROR = 4
USAGE_EXIT = 2
STOP_SECONDS = 15.0
EPILOG = """\
Without pytest options every step runs: format, lint, types, documentation, man pages, openstack (installs the real
OpenStack that slow tests start), tests. With pytest options or paths, for example `tools/test.sh -k mirror` or
`tools/test.sh tests/unit`, only pytest runs, with these.
"""


@dataclass(frozen=True, slots=True)
class Step:
    """One check: its name and the command line; the program stands in the virtual environment."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended: exit code, seconds, last line of output."""

    step: Step
    code: int
    seconds: float
    last_line: str


class Interrupted(Exception):
    """A signal asked this program to end; the argument is its number."""


def parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return our options and what is meant for pytest. Exits with status 2 on wrong options."""
    parser = argparse.ArgumentParser(
        prog="tools/test.sh",
        usage="tools/test.sh [--quick] [--long SEEDS] [pytest option or path ...]",
        description="Install what is missing, then check everything.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--quick", action="store_true", help="leave out the tests marked as slow")
    parser.add_argument("--long", type=_count, metavar="SEEDS", help="how many seeds the simulation runs")
    options, for_pytest = parser.parse_known_args(arguments)
    options.usage = parser.format_usage()
    return options, for_pytest


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a positive number of seeds, not {text!r}")
    return int(text)


def steps(options: argparse.Namespace, for_pytest: list[str]) -> list[Step]:
    """What to run, in order; the tests come last."""
    selection = ("-m", "not slow") if options.quick else ()
    seeds = {SEEDS: str(options.long)} if options.long else {}
    if for_pytest:
        return [Step("tests", ("pytest", *selection, *for_pytest), seeds)]
    # Most tests wait for processes of theirs. Those on the real OpenStack share it, and keep the processors busy.
    side_by_side = ("-n", WORKERS, "--dist", "loadfile", f"--ignore={ON_OPENSTACK}")
    sphinx = ("sphinx-build", "-W", "-q", "--keep-going")
    on_openstack = [
        Step("openstack", (str(ROOT / "tools" / "openstack.sh"), "install")),
        Step("on openstack", ("pytest", ON_OPENSTACK)),
    ]
    return [
        Step("format", ("ruff", "format", "--check")),
        Step("lint", ("ruff", "check")),
        Step("types", ("mypy", "nodepool", "tests", "tools")),
        Step("documentation", (*sphinx, "-b", "html", "doc", "doc/build/html")),
        Step("man pages", (*sphinx, "-b", "man", "-d", "doc/build/html/.doctrees", "doc", "doc/build/man")),
        *([] if options.quick else on_openstack),
        Step("tests", ("pytest", *side_by_side, *selection), seeds),
    ]


def run(step: Step) -> Outcome:
    """Run one step and pass its output on. Raises :class:`Interrupted` after ending the step."""
    print(f"\n=== {step.name}: {' '.join(step.command)}", flush=True)
    began = time.monotonic()
    color = {"FORCE_COLOR": "1"} if sys.stdout.isatty() else {}
    process = subprocess.Popen(
        [Path(sys.executable).parent / step.command[0], *step.command[1:]],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **color, **step.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        last_line = _pass_on(process)
        code = process.wait()
    except BaseException:
        _end_group(process)
        raise
    seconds = time.monotonic() - began
    print(f"--- {step.name}: {_verdict(code)} in {seconds:.1f} s", flush=True)
    return Outcome(step, code, seconds, last_line)


def _pass_on(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    tail = b""
    while chunk := os.read(process.stdout.fileno(), 65536):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        tail = (tail + chunk)[-4096:]
    lines = tail.decode("utf-8", "replace").rstrip().splitlines()
    return lines[-1] if lines else ""


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a step and its children: first as Ctrl-C would, so that fixtures clean up; by force if that takes long."""
    try:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _verdict(code: int) -> str:
    return "ok" if code == 0 else f"FAILED (exit code {code})"


def summarize(outcomes: list[Outcome]) -> None:
    """Print one line per step, and last the closing line of pytest."""
    print("\n=== summary")
    for outcome in outcomes:
        print(f"{outcome.step.name:<14} {outcome.seconds:7.1f} s  {_verdict(outcome.code)}")
    if outcomes and outcomes[-1].step.name == "tests":
        print(outcomes[-1].last_line)


def _on_signal(number: int, _frame: FrameType | None) -> None:
    raise Interrupted(number)


def main(arguments: list[str]) -> int:
    """Return the exit code of the first step that failed, 0 if none did, 2 for wrong options."""
    options, for_pytest = parse(arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _on_signal)
    outcomes: list[Outcome] = []
    try:
        for step in steps(options, for_pytest):
            outcomes.append(run(step))
    except Interrupted as interruption:
        print(f"\ninterrupted by {signal.Signals(interruption.args[0]).name}", file=sys.stderr)
        return 128 + int(interruption.args[0])
    if for_pytest:
        if outcomes[0].code == PYTEST_USAGE_ERROR:
            print(options.usage, end="", file=sys.stderr)
            return USAGE_EXIT
        return outcomes[0].code
    summarize(outcomes)
    return next((outcome.code for outcome in outcomes if outcome.code), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
