"""Problems found in a configuration: where, what, and what to do.

A problem never carries a value of the secure file: messages about that file are made by rules that do not see values.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass

Path = tuple[str | int, ...]
"""Where something stands in the parsed file: mapping keys and list positions (from 0), from the top."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")


class Severity(enum.StrEnum):
    """How much a problem matters."""

    ERROR = "error"
    """The configuration cannot be used."""
    WARNING = "warning"
    """The configuration can be used, but probably does not do what its author meant."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a configuration.

    ``str()`` gives the line that operators and editors can read: ``FILE:LINE: PATH: MESSAGE``.
    """

    file: str
    line: int | None
    """Line in the file as it is on disk, from 1; None when the file as a whole is meant."""
    path: str
    """The key as text, for instance ``providers[0].pools[0].max-servers``; empty when the file as a whole is meant."""
    message: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (where, self.path, self.message) if part)


class ConfigurationError(Exception):
    """The configuration cannot be used; ``problems`` says why, all of it, in the order of the files."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ConfigurationMissing(ConfigurationError):
    """A configuration file does not exist (at this moment: editors replace files by renaming).

    A caller that reloads tries again a little later (spec config 1: 3 tries, 0.5 s apart).
    """


def path_text(path: Path) -> str:
    """``('providers', 0, 'name')`` as ``providers[0].name``; unusual keys are quoted."""
    text = ""
    for step in path:
        if isinstance(step, int) and not isinstance(step, bool):
            text += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(str(step)):
            text += f".{step}" if text else str(step)
        else:
            text += f"[{str(step)[:80]!r}]"
    return text
