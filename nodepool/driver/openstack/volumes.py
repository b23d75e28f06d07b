"""Volumes that servers of ours booted from: Nova deletes them with their server, and sometimes does not.

Such a volume bears no tag, so it is known as ours only by having been seen at a server of ours, for as long as the
process lives. May be used from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nodepool.driver.adapter import PROVIDER_TAG, Leftover

VOLUMES = "volumes"
"""Kind, as the metric ``nodepool.provider.P.leaked.KIND`` names it."""
SIGHTING_AGE = 60.0
"""Seconds between two sightings of a volume that no server has."""


class BootVolumes:
    """The volumes that servers of one provider booted from."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._lock = threading.Lock()
        self._seen: set[str] = set()

    def listed(self, server: Mapping[str, Any]) -> None:
        """Take over what Nova says of a server, as it lists it."""
        attached = server.get("os-extended-volumes:volumes_attached") or ()
        if not attached or (server.get("metadata") or {}).get(PROVIDER_TAG) != self._provider:
            return
        with self._lock:
            self._seen.update(volume["id"] for volume in attached if volume.get("delete_on_termination"))

    @property
    def any(self) -> bool:
        """Whether there is a reason to look for leftovers."""
        return bool(self._seen)

    def leftovers(self, volumes: Iterable[Mapping[str, Any]]) -> Iterator[Leftover]:
        """Those that no server has any more, of all that Cinder lists; those that are gone are forgotten."""
        found = {volume["id"]: volume for volume in volumes}
        with self._lock:
            self._seen &= found.keys()
            ours = sorted(self._seen)
        for volume_id in ours:
            volume = found[volume_id]
            if volume.get("status") in ("available", "error") and not volume.get("attachments"):
                yield Leftover(VOLUMES, volume_id, SIGHTING_AGE)
