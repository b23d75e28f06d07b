"""What commands print, made fit to be kept and logged: bounded, readable, harmless to a terminal. Pure."""

from __future__ import annotations

MOST_KEPT = 8192
"""Most bytes that are kept of all that the commands of a check print: the last ones."""
LONGEST_COMMAND = 100
"""Most characters of a command that a sentence names."""


class Tail:
    """The end of what was printed."""

    def __init__(self, limit: int = MOST_KEPT) -> None:
        self._limit = limit
        self._kept = bytearray()
        self.total = 0
        """Bytes that were added, kept or not."""

    def add(self, data: bytes) -> None:
        """Add what came next."""
        self.total += len(data)
        self._kept += data
        del self._kept[: -self._limit]

    @property
    def text(self) -> str:
        """What is kept, as :func:`harmless` text; it begins with a line of ours if something was left out."""
        left_out = self.total - len(self._kept)
        beginning = f"({left_out} bytes before this are left out)\n" if left_out else ""
        return beginning + harmless(self._kept.decode(errors="replace"))


def harmless(text: str) -> str:
    """The text with line ends and tabs, but with every other character that cannot be printed as an escape."""
    lines = text.replace("\r\n", "\n")
    return "".join(one if one.isprintable() or one in "\n\t" else _escaped(one) for one in lines)


def on_one_line(text: str, limit: int = LONGEST_COMMAND) -> str:
    """The text on one line of at most ``limit`` characters, for a sentence."""
    line = " ".join(harmless(text).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
