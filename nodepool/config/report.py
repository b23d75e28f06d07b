"""Collects what is wrong with one file, with its lines.

There are three grades. An *error* makes the configuration useless. A *refusal* is wrong, but Nodepool 11 daemons
took it (unknown keys, things defined twice): the validator calls it an error, a daemon only warns, so that a file that
runs today goes on running (spec config 1, 12). A *warning* is a warning everywhere.
"""

from __future__ import annotations

import enum

from nodepool.config.document import Document
from nodepool.config.problem import Path, Problem, Severity, path_text


class Grade(enum.Enum):
    """How bad something is; the severity that it gets may depend on who reads the file."""

    ERROR = enum.auto()
    REFUSAL = enum.auto()
    WARNING = enum.auto()


class Report:
    """The problems of one document.

    :param strict: True for validation, False for loading by a daemon.
    """

    def __init__(self, document: Document, *, strict: bool) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self._severities = {
            Grade.ERROR: Severity.ERROR,
            Grade.REFUSAL: Severity.ERROR if strict else Severity.WARNING,
            Grade.WARNING: Severity.WARNING,
        }
        self._broken: list[Path] = []
        for flaw in document.flaws:
            self._put(Grade.REFUSAL if flaw.tolerated else Grade.WARNING, flaw.path, flaw.line, flaw.message)

    def error(self, path: Path, message: str) -> None:
        """The thing at ``path`` cannot be used."""
        self.add(Grade.ERROR, path, message)

    def refuse(self, path: Path, message: str) -> None:
        """The thing at ``path`` is wrong, but used all the same."""
        self.add(Grade.REFUSAL, path, message)

    def warn(self, path: Path, message: str) -> None:
        """The thing at ``path`` is probably not meant so."""
        self.add(Grade.WARNING, path, message)

    def add(self, grade: Grade, path: Path, message: str) -> None:
        """Note a problem with the thing at ``path``."""
        if grade is Grade.ERROR:
            self._broken.append(path)
        self._put(grade, path, self.document.line(path), message)

    def usable(self, path: Path) -> bool:
        """Whether there is no error at or below ``path``."""
        return not any(broken[: len(path)] == path for broken in self._broken)

    def line(self, path: Path) -> int | None:
        """The line of ``path``, to refer to in messages."""
        return self.document.line(path)

    def _put(self, grade: Grade, path: Path, line: int | None, message: str) -> None:
        if self.document.secret:
            path = _without_secrets(path)
        problem = Problem(self.document.file, line, path_text(path), _on_one_line(message), self._severities[grade])
        if problem not in self.problems:
            self.problems.append(problem)


def _without_secrets(path: Path) -> Path:
    """What of a path may be shown for the secure file: not the names of environment variables."""
    return path[: path.index("env-vars") + 1] if "env-vars" in path else path


def _on_one_line(message: str) -> str:
    """The message with line ends and other control characters of quoted names escaped."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in message)
