"""Finds and removes what servers that are gone, or images that nobody knows, may have left in a cloud.

Runs on the decision thread; no I/O. Something is removed only if it was found at both ends of its age, and only by one
launcher of a provider, by rendezvous hashing (spec launcher 4.4).
"""

from __future__ import annotations

from nodepool.daemon.instructions import Level
from nodepool.driver.adapter import Leftover
from nodepool.launcher.clouds import Cloud
from nodepool.launcher.events import LeftoverRemoved, LeftoversFound
from nodepool.launcher.instructions import FindLeftovers, RemoveLeftover
from nodepool.launcher.state import State
from nodepool.model import rendezvous
from nodepool.telemetry.facts import LeakRemoved

JUDGED_FOR = 60.0
"""Seconds within which something found has to be removed; later the next search decides anew."""
REPEAT_AFTER = 2.0
"""Seconds until the next search when something of one failed; twice as long each time, until something is removed.

What can never be removed must not cost many searches.
"""
CALM = 60.0
"""Seconds without such a failure after which the pauses begin with the shortest one again."""


def seek(state: State, name: str) -> None:
    """Have a provider searched as ever so often, if its driver can and it is for us to do so.

    Whoever comes back to it after others did begins anew: what was seen long ago may have been of use since.
    """
    cloud = state.clouds.setdefault(name, Cloud())
    if state.now >= cloud.search_again + CALM:
        cloud.searches_again = 0
    if our_turn(state, name):
        search(state, name)
    else:
        cloud.leftovers.clear()


def search(state: State, name: str) -> None:
    """Have a provider searched now, if its driver can and it is for us to do so."""
    provider = state.setup.providers.get(name)
    if provider is not None and provider.has_leftovers and our_turn(state, name):
        state.out.append(FindLeftovers(name))


def our_turn(state: State, name: str) -> bool:
    """Whether it is this launcher that removes what a provider has too much."""
    winner = rendezvous.first(name, state.registered_pools_of(name))
    return winner is None or winner in state.setup.pools


def found(state: State, event: LeftoversFound) -> None:
    """A search ended: remove what is old enough, and remember the rest."""
    cloud = state.clouds.setdefault(event.provider, Cloud())
    logger = f"nodepool.StateMachineProvider.{event.provider}"
    if event.error is not None:
        text = f"Provider {event.provider} cannot be searched for leaked resources: {event.error}"
        state.say(Level.WARNING if cloud.leftovers_error is None else Level.DEBUG, logger, text)
        cloud.leftovers_error = str(event.error)
        _search_again(state, event.provider, cloud)
        return
    cloud.leftovers_error = None
    seen = cloud.leftovers
    cloud.leftovers = {}
    for leftover in event.leftovers:
        if _wanted(state, event.provider, leftover):
            continue
        key = (leftover.kind, leftover.external_id)
        since = cloud.leftovers[key] = seen.get(key, event.ended)
        if key in seen and event.ended >= since + leftover.age and state.working and our_turn(state, event.provider):
            text = f"Deleting leaked {leftover.kind} {leftover.external_id} of provider {event.provider}"
            state.say(Level.WARNING, logger, text)
            state.out.append(RemoveLeftover(event.provider, leftover, state.now + JUDGED_FOR))


def removed(state: State, event: LeftoverRemoved) -> None:
    """A call to remove something ended; what is still there is found, and judged, by another search soon."""
    cloud = state.clouds.setdefault(event.provider, Cloud())
    if event.removed:
        state.measure(LeakRemoved(event.provider, event.removed))
    if event.error is None:
        cloud.searches_again = 0
    else:
        _search_again(state, event.provider, cloud)


def _search_again(state: State, name: str, cloud: Cloud) -> None:
    if cloud.search_again > state.now:
        return
    cloud.search_again = state.now + REPEAT_AFTER * 2.0 ** min(cloud.searches_again, 16)
    cloud.searches_again += 1
    state.wake(cloud.search_again, ("leftovers", name))


def _wanted(state: State, provider: str, leftover: Leftover) -> bool:
    """Whether it is the image of an upload that has a record.

    If ZooKeeper knows of no image at all it may have lost its data: then all images stay, since it may be restored.
    """
    if leftover.upload is None:
        return False
    if not state.mirror.images:
        return True
    build_id, upload_id = leftover.upload
    return any(
        (build, of_provider, upload) == (build_id, provider, upload_id)
        for _, build, of_provider, upload in state.mirror.uploads
    )
