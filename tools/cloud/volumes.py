"""The volumes of one region. Pure."""

from __future__ import annotations

from tools.cloud.place import Place
from tools.cloud.records import Refused, Volume
from tools.cloud.settings import UNLIMITED


class Volumes:
    """What Cinder knows. Calls raise :class:`tools.cloud.records.Refused`."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.volumes: dict[str, Volume] = {}

    @property
    def gigabytes(self) -> int:
        """Size of all volumes, GiB."""
        return sum(volume.size for volume in self.volumes.values())

    def create(self, name: str, size: int, *, image_id: str | None = None, zone: str = "nova") -> Volume:
        """A new volume."""
        quota = self._place.settings.quota
        if quota.volumes != UNLIMITED and len(self.volumes) >= quota.volumes:
            message = f"Maximum number of volumes allowed ({quota.volumes}) exceeded for quota 'volumes'."
            raise Refused(413, f"VolumeLimitExceeded: {message}")
        used = self.gigabytes
        if quota.gigabytes != UNLIMITED and used + size > quota.gigabytes:
            raise Refused(
                413,
                "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota. "
                f"Requested {size}G, quota is {quota.gigabytes}G and {used}G has been consumed.",
            )
        identifier = self._place.identifier("volume", name, image_id or "")
        volume = Volume(identifier, name, size, self._place.now, zone, image_id)
        self.volumes[volume.id] = volume
        return volume

    def attach(self, volume: Volume, server_id: str, *, delete_with_server: bool) -> None:
        """Give a volume to a server."""
        if volume.server_id is not None:
            raise Refused(400, f"Invalid volume: Volume {volume.id} is already attached.")
        volume.server_id, volume.delete_with_server, volume.status = server_id, delete_with_server, "in-use"

    def let_go(self, volume: Volume) -> None:
        """The server is gone: delete the volume, or keep it for others."""
        volume.server_id, volume.status = None, "available"
        if volume.delete_with_server:
            self.volumes.pop(volume.id, None)

    def delete(self, volume: Volume) -> None:
        """Remove a volume that no server has."""
        if volume.server_id is not None:
            raise Refused(
                400,
                "Invalid volume: Volume status must be available or error or error_restoring or error_extending or "
                "error_managing and must not be migrating, attached, belong to a group, have snapshots, awaiting a "
                "transfer, or be disassociated from snapshots after volume transfer.",
            )
        del self.volumes[volume.id]
