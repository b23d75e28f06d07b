"""Following ZooKeeper at a terminal: a page that is drawn again when something has changed.

ZooKeeper is not asked again: it tells of changes. Time alone draws a page from what is known, so that ages go on.
"""

from __future__ import annotations

import queue
import shutil
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from types import TracebackType

from nodepool.admin.operator import Operator
from nodepool.admin.table import printable
from nodepool.zk.mirror import Mirror
from nodepool.zk.store import Batch

SHORTEST_INTERVAL = 0.2
"""Seconds between two pages, however much changes."""
DEFAULT_INTERVAL = 2.0
"""Seconds between two pages when nothing changes."""
_OTHER_SCREEN, _USUAL_SCREEN = "\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?1049l"
"""To a screen of our own, without cursor and with long lines cut, and back (xterm's control sequences)."""
_HOME, _END_OF_LINE, _END_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def moments(operator: Operator, roots: Sequence[str], interval: float) -> Iterator[tuple[Mirror, bool]]:
    """What is below ``roots``, for ever: at once, after each change, and every ``interval`` seconds without one.

    The second value says whether anything has changed.
    """
    batches: queue.SimpleQueue[Batch] = queue.SimpleQueue()
    operator.client.store.feed(roots, batches.put)
    mirror = Mirror()
    mirror.apply(batches.get())
    news = True
    while True:
        while not batches.empty():
            mirror.apply(batches.get())
        yield mirror, news
        operator.pause(SHORTEST_INTERVAL)
        try:
            mirror.apply(batches.get(timeout=max(0.0, interval - SHORTEST_INTERVAL)))
            news = True
        except queue.Empty:
            news = False


def heading(operator: Operator, title: str) -> list[str]:
    """The first lines of a page: what it is and of when; and whether ZooKeeper is away."""
    clock = datetime.fromtimestamp(operator.clock()).strftime("%H:%M:%S")
    trouble = operator.client.store.trouble()
    away = [f"ZooKeeper is away, this is what was there before: {printable(trouble)}"] if trouble else []
    return [f"{title}   {clock}   (Ctrl-C ends)", *away]


class Screen:
    """The terminal of standard output, which shows one page after the other and afterwards is as it was."""

    def __enter__(self) -> Screen:
        sys.stdout.write(_OTHER_SCREEN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.stdout.write(_USUAL_SCREEN)
        sys.stdout.flush()

    @property
    def height(self) -> int:
        """Lines that a page may have."""
        return max(shutil.get_terminal_size().lines, 2)

    def draw(self, lines: Sequence[str], left_out: int = 0) -> None:
        """Show a page. Its last line counts what does not fit, ``left_out`` included: lines that were not even made."""
        height, shown = self.height, list(lines)
        if len(shown) + left_out > height:
            shown = [*shown[: height - 1], f"... and {len(shown) + left_out - height + 1} more lines"]
        sys.stdout.write(_HOME + "\r\n".join(line + _END_OF_LINE for line in shown) + _END_OF_SCREEN)
        sys.stdout.flush()
