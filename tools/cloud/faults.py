"""What goes wrong: rules from settings or the control API, and the draw for each call, server and image. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Generic, TypeVar

from tools.cloud.chance import Chance
from tools.cloud.timeline import Timeline


class CallFault(enum.Enum):
    """What happens to an API call. "After": the call took effect, only the client does not learn of it."""

    ERROR_BEFORE = "error-before"
    """Answered with ``status``, nothing done."""
    ERROR_AFTER = "error-after"
    """Done, then answered with ``status``."""
    HANG_BEFORE = "hang-before"
    """Nothing done, and no answer: the connection stays open for ``seconds``, then it is closed."""
    HANG_AFTER = "hang-after"
    """Done, and no answer: the connection stays open for ``seconds``, then it is closed."""
    CUT_BEFORE = "cut-before"
    """Nothing done; the connection is reset where the answer was due."""
    CUT_AFTER = "cut-after"
    """Done; the connection is reset where the answer was due."""

    @property
    def takes_effect(self) -> bool:
        """Whether the call is carried out."""
        return self in (CallFault.ERROR_AFTER, CallFault.HANG_AFTER, CallFault.CUT_AFTER)


class ServerFault(enum.Enum):
    """What is wrong with a server. One server may have several."""

    ERROR = "error"
    """ERROR instead of ACTIVE, for no reason that says much."""
    NO_VALID_HOST = "no-valid-host"
    """ERROR: no host has room for it. With ``zones`` or ``flavors``: no capacity there."""
    QUOTA = "quota"
    """ERROR: a quota is exceeded, found out only while building."""
    STUCK_BUILD = "stuck-build"
    """BUILD for ``seconds`` more, or for ever."""
    LATE_ADDRESS = "late-address"
    """ACTIVE, its addresses known only ``seconds`` later, or never."""
    STOLEN_ADDRESS = "stolen-address"
    """ACTIVE with the addresses of another living server of its network, so the wrong host answers."""
    STUCK_DELETE = "stuck-delete"
    """The first ``times`` deletions start and do not end, or only ``seconds`` later."""
    FAILING_DELETE = "failing-delete"
    """The first ``times`` deletions end in ERROR."""
    VANISH = "vanish"
    """Gone by itself ``seconds`` after it is ACTIVE, or at once."""
    LEAK_PORT = "leak-port"
    """Its ports stay when it goes."""
    LEAK_VOLUME = "leak-volume"
    """Its volumes stay when it is deleted."""


class ImageFault(enum.Enum):
    """What is wrong with an uploaded image."""

    CORRUPT = "corrupt"
    """Its checksum is that of other data."""
    STUCK = "stuck"
    """``saving`` for ever."""
    KILLED = "killed"
    """``killed`` at the end of the upload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When a rule applies. Times are seconds from the moment it came into force."""

    chance: float = 1.0
    starts: float = 0.0
    lasts: float | None = None
    at_most: int | None = None
    """How often it applies in all; None: no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRule(Rule):
    """A fault of API calls. ``calls`` are patterns of kinds of calls, such as ``compute.server.*``."""

    fault: CallFault
    calls: tuple[str, ...] = ("*",)
    status: int = 500
    message: str = "The server has either erred or is incapable of performing the requested operation."
    seconds: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRule(Rule):
    """A fault of servers whose name, zone and flavor name match one of the patterns."""

    fault: ServerFault
    names: tuple[str, ...] = ("*",)
    zones: tuple[str, ...] = ("*",)
    flavors: tuple[str, ...] = ("*",)
    seconds: float | None = None
    times: int = 1
    message: str = ""
    """Instead of the usual fault message of an ERROR server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRule(Rule):
    """A fault of uploaded images whose name matches one of the patterns."""

    fault: ImageFault
    names: tuple[str, ...] = ("*",)


@dataclass(frozen=True, slots=True)
class FaultSettings:
    """All the rules of one place."""

    calls: tuple[CallRule, ...] = ()
    servers: tuple[ServerRule, ...] = ()
    images: tuple[ImageRule, ...] = ()


R = TypeVar("R", bound=Rule)


@dataclass(slots=True)
class _InForce(Generic[R]):
    rule: R
    since: float
    used: int = 0

    def applies(self, now: float) -> bool:
        rule = self.rule
        begin = self.since + rule.starts
        if now < begin or (rule.lasts is not None and now >= begin + rule.lasts):
            return False
        return rule.at_most is None or self.used < rule.at_most


class FaultPlan:
    """The rules in force in one place, and the draws."""

    def __init__(self, chance: Chance, timeline: Timeline, settings: FaultSettings) -> None:
        self._chance = chance
        self._timeline = timeline
        self.clear()
        self.add(settings)

    def clear(self) -> None:
        """End all rules. What a server has been dealt at its creation stays with it."""
        self._calls: list[_InForce[CallRule]] = []
        self._servers: list[_InForce[ServerRule]] = []
        self._images: list[_InForce[ImageRule]] = []
        self._by_kind: dict[str, list[_InForce[CallRule]]] = {}

    def add(self, settings: FaultSettings) -> None:
        """Put more rules into force, from now on."""
        now = self._timeline.now
        self._calls += [_InForce(rule, now) for rule in settings.calls]
        self._servers += [_InForce(rule, now) for rule in settings.servers]
        self._images += [_InForce(rule, now) for rule in settings.images]
        self._by_kind = {}

    def for_call(self, kind: str, key: str) -> CallRule | None:
        """The fault of one call, if it has one. ``key`` is what the call is about."""
        rules = self._by_kind.get(kind)
        if rules is None:
            rules = [entry for entry in self._calls if matches(kind, entry.rule.calls)]
            self._by_kind[kind] = rules
        return next((entry.rule for entry in rules if self._drawn(entry, kind, key)), None)

    def for_server(self, name: str, zone: str, flavor: str) -> dict[ServerFault, ServerRule]:
        """The faults that a new server has."""
        faults: dict[ServerFault, ServerRule] = {}
        for entry in self._servers:
            rule = entry.rule
            fits = matches(name, rule.names) and matches(zone, rule.zones) and matches(flavor, rule.flavors)
            if fits and rule.fault not in faults and self._drawn(entry, rule.fault.value, name):
                faults[rule.fault] = rule
        return faults

    def for_image(self, name: str) -> ImageRule | None:
        """The fault of an image that was uploaded, if it has one."""
        entries = (entry for entry in self._images if matches(name, entry.rule.names))
        return next((entry.rule for entry in entries if self._drawn(entry, entry.rule.fault.value, name)), None)

    def _drawn(self, entry: _InForce[R], what: str, key: str) -> bool:
        if not entry.applies(self._timeline.now):
            return False
        if entry.rule.chance < 1.0 and self._chance.fraction("fault", what, key) >= entry.rule.chance:
            return False
        entry.used += 1
        return True


def matches(text: str, patterns: Iterable[str]) -> bool:
    """Whether one of the shell patterns fits the whole text."""
    return any(pattern == "*" or fnmatchcase(text, pattern) for pattern in patterns)
