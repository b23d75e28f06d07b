"""Reading configurations that tests write as text."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

from nodepool.config.load import load, validate
from nodepool.config.problem import Problem, Severity
from nodepool.config.settings import Config
from tests.unit.config.toy_driver import get_driver


class Files:
    """A directory with a main and perhaps a secure file."""

    def __init__(self, directory: Path) -> None:
        self.main = directory / "nodepool.yaml"
        self.secure = directory / "secure.conf"

    def write(self, main: str, secure: str | None = None) -> None:
        self.main.write_text(textwrap.dedent(main))
        if secure is not None:
            self.secure.write_text(textwrap.dedent(secure))

    @property
    def _secure(self) -> Path | None:
        return self.secure if self.secure.exists() else None

    def validate(self, environ: Mapping[str, str] | None = None) -> list[Problem]:
        return validate(self.main, self._secure, environ=environ or {}, get_driver=get_driver)

    def load(self, environ: Mapping[str, str] | None = None) -> Config:
        return load(self.main, self._secure, environ=environ or {}, get_driver=get_driver)


def lines(problems: list[Problem] | tuple[Problem, ...]) -> list[str]:
    """Problems as an operator sees them, without the directory; warnings are marked."""
    return [_line(problem) for problem in problems]


def _line(problem: Problem) -> str:
    mark = "warning: " if problem.severity is Severity.WARNING else ""
    directory = problem.file.rpartition("/")[0] + "/"
    return mark + str(problem).replace(directory, "")
