"""The steps of a run as they are shown: each with the time it took, long ones with what goes on in them."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

WIDTH = 72
INDENT = "      "


class Step:
    """One step that goes on."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        """Lines that are shown below it when it is done."""
        self.began = time.monotonic()
        self._phase = ""
        self._broken = False

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self.began

    def phase(self, text: str) -> None:
        """Say what goes on now, once for each phase; on a terminal the time that it takes is seen to pass."""
        if text == self._phase:
            if sys.stdout.isatty():
                print(f"\r{INDENT}{self.seconds:4.0f} s  {text}", end="", flush=True)
            return
        self._phase, self._broken = text, True
        print(f"\n{INDENT}{self.seconds:4.0f} s  {text}", end="", flush=True)

    def end(self, text: str) -> None:
        """Close the line of the step."""
        if self._broken:
            print(f"\n{INDENT}{'':<{WIDTH - 2}}", end="")
        print(text, *self.notes, sep=f"\n{INDENT}", flush=True)


class Steps:
    """Prints the steps of a run as they happen, and keeps the times."""

    def __init__(self, prepared: float = 0.0) -> None:
        self.seconds: list[tuple[str, float]] = []
        self._prepared = prepared
        """Seconds that went by before the first step."""

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """One step."""
        print(f"{len(self.seconds) + 1:2}. {title:<{WIDTH}}", end="", flush=True)
        step = Step()
        try:
            yield step
        except BaseException:
            step.notes.clear()
            step.end("not done")
            raise
        seconds = step.seconds
        self.seconds.append((title, seconds))
        step.end(_shown(seconds))

    def summarize(self) -> None:
        """Print all times and their sum."""
        print("\nTimes")
        rows = (
            [("Look at this machine, and install what is missing", self._prepared), *self.seconds]
            if self._prepared
            else self.seconds
        )
        for title, seconds in rows:
            print(f"    {title:<{WIDTH}}{_shown(seconds)}")
        print(f"    {'together':<{WIDTH}}{_shown(sum(seconds for _, seconds in rows))}")


def _shown(seconds: float) -> str:
    return f"{seconds * 1000:8.0f} ms" if seconds < 10 else f"{seconds:8.1f} s"
