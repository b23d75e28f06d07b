"""Cinder's calls: volumes and quota. Pure."""

from __future__ import annotations

from typing import Any

from tools.cloud.exchange import Answer, Call, answer_json
from tools.cloud.records import Refused, Volume
from tools.cloud.routes import Route, under
from tools.cloud.timeline import iso

_SNAPSHOTS, _BACKUPS = 10, 10


def list_versions(call: Call) -> Answer:
    """GET / and GET /v3/."""
    links = [{"rel": "self", "href": f"{call.url('volume')}/v3/"}]
    version = {"id": "v3.0", "status": "CURRENT", "version": "3.71", "min_version": "3.0", "links": links}
    return answer_json({"versions": [version]})


def list_volumes(call: Call) -> Answer:
    """GET /volumes and /volumes/detail."""
    found = list(call.region.volumes.volumes.values())
    for name in ("name", "status"):
        if wanted := call.request.parameter(name):
            found = [volume for volume in found if getattr(volume, name) == wanted]
    return answer_json({"volumes": [_view(call, volume) for volume in found]})


def show_volume(call: Call) -> Answer:
    """GET /volumes/ID."""
    return answer_json({"volume": _view(call, _volume(call))})


def create_volume(call: Call) -> Answer:
    """POST /volumes."""
    wanted = call.request.part("volume")
    size = wanted.get("size")
    if not isinstance(size, int) or size <= 0:
        raise Refused(400, f"Invalid input received: Invalid volume size provided for create request: {size}")
    volume = call.region.volumes.create(
        str(wanted.get("name") or ""),
        size,
        image_id=wanted.get("imageRef"),
        zone=str(wanted.get("availability_zone") or "nova"),
    )
    volume.metadata = dict(wanted.get("metadata") or {})
    return answer_json({"volume": _view(call, volume)}, 202)


def add_metadata(call: Call) -> Answer:
    """POST /volumes/ID/metadata: what is there under other keys stays."""
    volume = _volume(call)
    volume.metadata |= {str(name): str(value) for name, value in call.request.part("metadata").items()}
    return answer_json({"metadata": volume.metadata})


def delete_volume(call: Call) -> Answer:
    """DELETE /volumes/ID."""
    call.region.volumes.delete(_volume(call))
    return Answer(202)


def show_limits(call: Call) -> Answer:
    """GET /limits."""
    quota, volumes = call.region.settings.quota, call.region.volumes
    absolute = {
        "maxTotalVolumes": quota.volumes,
        "maxTotalVolumeGigabytes": quota.gigabytes,
        "maxTotalSnapshots": _SNAPSHOTS,
        "maxTotalBackups": _BACKUPS,
        "maxTotalBackupGigabytes": 1000,
        "totalVolumesUsed": len(volumes.volumes),
        "totalGigabytesUsed": volumes.gigabytes,
        "totalSnapshotsUsed": 0,
        "totalBackupsUsed": 0,
        "totalBackupGigabytesUsed": 0,
    }
    return answer_json({"limits": {"rate": [], "absolute": absolute}})


def show_quota(call: Call) -> Answer:
    """GET /os-quota-sets/PROJECT, with ``usage=True`` in detail."""
    quota, volumes = call.region.settings.quota, call.region.volumes
    limits = {
        "volumes": (quota.volumes, len(volumes.volumes)),
        "gigabytes": (quota.gigabytes, volumes.gigabytes),
        "snapshots": (_SNAPSHOTS, 0),
        "backups": (_BACKUPS, 0),
        "backup_gigabytes": (1000, 0),
        "groups": (10, 0),
        "per_volume_gigabytes": (-1, 0),
    }
    detailed = (call.request.parameter("usage") or "").lower() == "true"
    sets = {
        name: {"limit": limit, "in_use": used, "reserved": 0, "allocated": 0} if detailed else limit
        for name, (limit, used) in limits.items()
    }
    return answer_json({"quota_set": {"id": call.arguments[0], **sets}})


def list_types(call: Call) -> Answer:
    """GET /types."""
    del call
    return answer_json({"volume_types": [{"id": "1", "name": "default", "is_public": True, "extra_specs": {}}]})


def _volume(call: Call) -> Volume:
    volume = call.region.volumes.volumes.get(call.arguments[0])
    if volume is None:
        raise Refused(404, f"Volume {call.arguments[0]} could not be found.")
    return volume


def _view(call: Call, volume: Volume) -> dict[str, Any]:
    attachment = {"server_id": volume.server_id, "volume_id": volume.id, "id": volume.id, "device": "/dev/vda"}
    moment = iso(volume.created)[:-1] + ".000000"
    return {
        "id": volume.id,
        "name": volume.name,
        "description": "",
        "status": volume.status,
        "size": volume.size,
        "availability_zone": volume.zone,
        "bootable": "true" if volume.image_id else "false",
        "volume_image_metadata": {"image_id": volume.image_id} if volume.image_id else {},
        "attachments": [attachment] if volume.server_id else [],
        "metadata": volume.metadata,
        "volume_type": "default",
        "encrypted": False,
        "multiattach": False,
        "created_at": moment,
        "updated_at": moment,
        "user_id": call.cloud.identity.user_id,
        "os-vol-tenant-attr:tenant_id": call.region.place.project_id,
    }


ROUTES = (
    Route("GET", "", "volume.version.list", list_versions, open=True),
    *under(
        "v3",
        (
            Route("GET", "", "volume.version.list", list_versions, open=True),
            Route("GET", "volumes", "volume.volume.list", list_volumes),
            Route("GET", "volumes/detail", "volume.volume.list", list_volumes),
            Route("POST", "volumes", "volume.volume.create", create_volume),
            Route("GET", "volumes/*", "volume.volume.show", show_volume),
            Route("POST", "volumes/*/metadata", "volume.metadata.create", add_metadata),
            Route("DELETE", "volumes/*", "volume.volume.delete", delete_volume),
            Route("GET", "limits", "volume.limits.show", show_limits),
            Route("GET", "os-quota-sets/*", "volume.quota.show", show_quota),
            Route("GET", "types", "volume.type.list", list_types),
        ),
    ),
)
