"""The configuration files of a running launcher: read at the start, and again when they have changed (spec config 13).

Never takes over what cannot be used: the problems are logged, and the previous configuration stays in force. For one
thread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from nodepool.config.load import load
from nodepool.config.problem import ConfigurationError, ConfigurationMissing, Problem, Severity
from nodepool.config.settings import Config
from nodepool.config.startup import check_servers
from nodepool.config.watch import Stamp, stamp

log = logging.getLogger("nodepool.NodePool")

PATIENCE = 3
"""Looks after which a file that is not there is reported; editors replace files by renaming (spec launcher 1.4)."""


class ConfigurationFiles:
    """``main`` is nodepool.yaml, ``secure`` the secure file or None."""

    def __init__(self, main: str, secure: str | None) -> None:
        self.main = main
        self.secure = secure
        self._seen: Stamp = ()
        self._looks_in_vain = 0

    def load(self) -> Config:
        """The configuration as it is now. Raises :class:`~nodepool.config.problem.ConfigurationError`."""
        # The stamp comes first: a change while the files are read is then seen at the next look.
        self._seen = self._stamp()
        return load(self.main, self.secure)

    def reload(self) -> Config | None:
        """The configuration if it has changed and can be used, else None; the log says why it cannot. Never raises."""
        present = self._stamp()
        if present == self._seen:
            return None
        if present[0] is None or (self.secure is not None and present[1] is None):
            self._report_missing(present)
            return None
        try:
            config = load(self.main, self.secure)
            _refuse(check_servers(config, self.main))
        except ConfigurationMissing:
            return None
        except ConfigurationError as error:
            self._seen, self._looks_in_vain = present, 0
            log_problems(error.problems)
            log.error("The configuration was not taken over; the previous one stays in force")
            return None
        self._seen, self._looks_in_vain = present, 0
        log_problems(config.warnings)
        return config

    def _stamp(self) -> Stamp:
        return stamp((self.main, self.secure))

    def _report_missing(self, present: Stamp) -> None:
        self._looks_in_vain += 1
        if self._looks_in_vain == PATIENCE:
            path = self.main if present[0] is None else self.secure
            log.error("%s is not there, or may not be read; the previous configuration stays in force", path)


def log_problems(problems: Iterable[Problem]) -> None:
    """Log each problem at its severity."""
    for problem in problems:
        level = logging.ERROR if problem.severity is Severity.ERROR else logging.WARNING
        log.log(level, "%s", problem)


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise ConfigurationError(problems)
