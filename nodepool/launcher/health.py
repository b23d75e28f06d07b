"""Takes over how the providers are: what is blocked while one does not answer, and what the log says of it.

Runs on the decision thread; no I/O. An outage is one line when it begins and one when it ends, however many calls fail.
"""

from __future__ import annotations

from nodepool.daemon.instructions import Level
from nodepool.driver.breaker import MOST_FAILURES, Health
from nodepool.launcher.clouds import Cloud
from nodepool.launcher.events import HealthChanged
from nodepool.launcher.state import State

PAUSES_APART = 60.0
"""Seconds after a pause in which another one is no news."""
MOST_REASONS = 5
"""Most reasons for one outage that the log tells."""


def changed(state: State, event: HealthChanged) -> None:
    """A provider told how it is."""
    cloud = state.clouds.setdefault(event.provider, Cloud())
    before, cloud.health = cloud.health, event.health
    if event.health.away and not before.away:
        pause = max((event.health.next_try or state.now) - state.now, 0.0)
        text = f"Provider {event.provider} does not answer: {event.health.error}; it is tried again in {pause:.0f} s"
        _say(state, event.provider, Level.WARNING, f"{text}, then after growing pauses")
        cloud.told = {event.health.error}
    elif _has_another_reason(cloud, before):
        cloud.told.add(event.health.error)
        text = f"Provider {event.provider} still does not answer, now for another reason: {event.health.error}"
        _say(state, event.provider, Level.WARNING, text)
    elif before.away and not event.health.away:
        seconds = max(state.now - before.since, 0.0)
        _say(state, event.provider, Level.WARNING, f"Provider {event.provider} answers again after {seconds:.0f} s")
        state.dirty.add(("limits", event.provider))
    if event.health.away is not before.away:
        state.dirty.update({"admission", "min-ready"})
    if event.health.paused_until > max(state.now, before.paused_until + PAUSES_APART):
        pause = event.health.paused_until - state.now
        text = f"Provider {event.provider} wants fewer calls: {event.health.pause_error}; pausing for {pause:.0f} s"
        _say(state, event.provider, Level.WARNING, f"{text}, and as it asks later on")


def _has_another_reason(cloud: Cloud, before: Health) -> bool:
    """Whether the provider is away for a reason that the operator should know of.

    An outage has as many texts as there are calls; what is wrong with the configuration has one.
    """
    health = cloud.health
    known = health.error in cloud.told or len(cloud.told) >= MOST_REASONS
    return health.away and not known and (health.misconfigured or before.misconfigured)


def failed(state: State, provider: str, what: str, error: object) -> None:
    """``what`` cannot be read: told once if it lasts and the provider answers otherwise, or never has answered."""
    cloud = state.clouds.setdefault(provider, Cloud())
    failures = cloud.failures[what] = cloud.failures.get(what, 0) + 1
    unknown = cloud.limits is None and not cloud.list_began
    news = (failures >= MOST_FAILURES and what not in cloud.silent) or (unknown and not cloud.silent)
    news = news and not cloud.health.away
    if news:
        cloud.silent.add(what)
    text = f"The {what} of provider {provider} cannot be read: {error}"
    _say(state, provider, Level.WARNING if news else Level.DEBUG, text)


def worked(state: State, provider: str, what: str) -> None:
    """``what`` was read."""
    cloud = state.clouds.setdefault(provider, Cloud())
    cloud.failures.pop(what, None)
    if what in cloud.silent:
        cloud.silent.discard(what)
        _say(state, provider, Level.WARNING, f"The {what} of provider {provider} can be read again")


def _say(state: State, provider: str, level: Level, text: str) -> None:
    state.say(level, f"nodepool.StateMachineProvider.{provider}", text)
