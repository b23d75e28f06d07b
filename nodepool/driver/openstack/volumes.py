"""Volumes that servers of ours booted from: Nova deletes them with their server, and sometimes does not.

Nova makes them, and Cinder learns nothing of us by that. So each is marked as ours before its server is told to go:
one that is there without a server then belongs to nobody, whichever process looks. May be used from any thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nodepool.driver.adapter import ATTEMPT_TAG, NODE_TAG, POOL_TAG, PROVIDER_TAG, Leftover
from nodepool.driver.errors import CloudError, NotFound, RateLimited, Rejected
from nodepool.driver.openstack.connection import CloudConnection

VOLUMES = "volumes"
"""Kind, as the metric ``nodepool.provider.P.leaked.KIND`` names it."""
SIGHTING_AGE = 60.0
"""Seconds between two sightings of a volume that no server has."""
MARK_DEADLINE = 10.0
"""Seconds to mark the volumes of a server."""
PATIENCE = 300.0
"""Seconds for which a server stays because Cinder does not answer: Nova could not delete its volumes either."""
_TAGS = (NODE_TAG, POOL_TAG, PROVIDER_TAG, ATTEMPT_TAG)


@dataclass(frozen=True, slots=True)
class _Boot:
    """What a server of ours booted from."""

    volumes: frozenset[str]
    """Ids of those that are to go with it."""
    tags: Mapping[str, str]
    """Of the server."""


class BootVolumes:
    """The volumes that servers of one provider booted from.

    Its methods, but for :meth:`listed`, are to be called within a deadline of the connection.
    """

    def __init__(self, provider: str, cloud: CloudConnection) -> None:
        self._provider = provider
        self._cloud = cloud
        self._lock = threading.Lock()
        self._seen: dict[str, _Boot] = {}
        """By server, while there are such volumes: it may go without having been told to by us."""
        self._marked: set[str] = set()
        """Servers of these whose volumes are marked: what is asked to go again is not marked again."""
        self._unmarked: dict[str, float] = {}
        """Servers whose volumes could not be marked, since when (monotonic clock)."""
        self._marks_exist = True
        """Whether the last search found marked volumes; before the first one, others may have left some."""

    def listed(self, server: Mapping[str, Any]) -> None:
        """Take over what Nova says of a server, as it lists it."""
        boot = _boot_of(server)
        if boot.volumes and boot.tags.get(PROVIDER_TAG) == self._provider:
            with self._lock:
                self._seen[server["id"]] = boot

    @property
    def any(self) -> bool:
        """Whether there is a reason to look for leftovers, whatever the labels are."""
        return self._marks_exist or bool(self._seen)

    def mark(self, server_id: str, look: bool) -> None:
        """Mark the volumes of a server that is about to be told to go.

        Raises CloudError if that is better tried again before, and NotFound if there is no such server.

        :param look: whether Nova is to be asked for a server that was never seen with volumes
        """
        if server_id in self._marked or self._cloud.missing("block_storage") is not None:
            return
        boot = self._seen.get(server_id)
        if boot is None and look:
            boot = _boot_of(self._cloud.call("compute", "GET", f"/servers/{server_id}").body["server"])
            self._marks_exist = True
        if boot is None or not boot.volumes or boot.tags.get(PROVIDER_TAG) != self._provider:
            return
        try:
            with self._cloud.within(MARK_DEADLINE):
                for volume_id in sorted(boot.volumes):
                    self._mark(volume_id, boot.tags)
        except RateLimited:
            raise
        except CloudError as error:
            since = self._unmarked.setdefault(server_id, time.monotonic())
            if time.monotonic() < since + PATIENCE:
                raise CloudError(f"a volume cannot be marked before its server goes: {error}") from error
        else:
            self._marked.add(server_id)
            self._unmarked.pop(server_id, None)

    def leftovers(self) -> Iterator[Leftover]:
        """Those that no server has any more; servers whose volumes are gone are forgotten."""
        if self._cloud.missing("block_storage") is not None:
            self._seen.clear()
            return
        with self._lock:
            seen = dict(self._seen)
        volumes = {
            volume["id"]: volume for volume in self._cloud.entries("block_storage", "/volumes/detail", "volumes")
        }
        with self._lock:
            for server_id, boot in seen.items():
                if boot.volumes.isdisjoint(volumes) and self._seen.get(server_id) is boot:
                    del self._seen[server_id]
            self._marked &= self._seen.keys()
            self._unmarked = {
                server_id: since for server_id, since in self._unmarked.items() if server_id in self._seen
            }
        marked = {volume_id for volume_id, volume in volumes.items() if self._is_marked(volume)}
        self._marks_exist = bool(marked)
        for volume_id in sorted(marked.union(*(boot.volumes for boot in seen.values())) & volumes.keys()):
            volume = volumes[volume_id]
            if volume.get("status") in ("available", "error") and not volume.get("attachments"):
                yield Leftover(VOLUMES, volume_id, SIGHTING_AGE)

    def _mark(self, volume_id: str, tags: Mapping[str, str]) -> None:
        """Add our tags to what a volume's metadata says; one that is gone, or may not be marked, is left as it is."""
        try:
            self._cloud.call("block_storage", "POST", f"/volumes/{volume_id}/metadata", {"metadata": dict(tags)})
        except (NotFound, Rejected):
            return

    def _is_marked(self, volume: Mapping[str, Any]) -> bool:
        return bool((volume.get("metadata") or {}).get(PROVIDER_TAG) == self._provider)


def _boot_of(server: Mapping[str, Any]) -> _Boot:
    attached = server.get("os-extended-volumes:volumes_attached") or ()
    metadata = server.get("metadata") or {}
    return _Boot(
        frozenset(volume["id"] for volume in attached if volume.get("delete_on_termination")),
        {name: metadata[name] for name in _TAGS if name in metadata},
    )
