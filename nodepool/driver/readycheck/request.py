"""What a check before use is asked for, what it answers, and how it can fail. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from nodepool.driver.adapter import ReadyCheck


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """A machine that is to be checked over SSH."""

    key: Hashable
    """Names the check; there is at most one per key."""
    host: str
    """Name or address; empty if the machine has none, which fails."""
    port: int
    username: str
    check: ReadyCheck
    host_keys: tuple[str, ...] = ()
    """``TYPE BASE64`` each; one of them must be the machine's. Empty: any key is taken."""
    group: str = ""
    """The provider: machines of one that does not answer must not keep those of another waiting."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found."""

    failure: str | None = None
    """Why the machine is not ready, in one sentence without output; None if it is."""
    output: str = ""
    """The end of what the commands printed, to standard output and error, in order."""


class NotReady(Exception):
    """The machine is found not to be ready; the text says why."""


class NotYet(Exception):
    """An attempt came to no verdict, another one may; the text says why."""


class LoginRefused(NotYet):
    """The machine does not know the user or the key (yet)."""
