"""The control API under ``/control/``: change what the cloud is like while it runs, read what has happened. Pure.

Open to whoever reaches the port: the cloud listens on loopback only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from tools.cloud.exchange import Answer, Call, answer_json
from tools.cloud.faults import FaultPlan, FaultSettings
from tools.cloud.reading import read
from tools.cloud.records import Refused
from tools.cloud.routes import Route
from tools.cloud.state import Region
from tools.cloud.timeline import iso

_IDENTITY = "identity"
_OF_IDENTITY = (
    "password",
    "application_secret",
    "application_expired",
    "project_enabled",
    "token_seconds",
    "hidden_services",
)


def show_accounting(call: Call) -> Answer:
    """GET /control/accounting: calls, servers, peaks and leftovers, by region; ``identity`` is Keystone."""
    regions = {name: _accounting(region) for name, region in call.cloud.regions.items()}
    identity = {"calls": call.cloud.identity_calls.table()}
    return answer_json({"regions": regions, _IDENTITY: identity, "now": call.cloud.now})


def reset_accounting(call: Call) -> Answer:
    """POST /control/accounting/reset: begin to count anew."""
    call.cloud.identity_calls.reset()
    for region in call.cloud.regions.values():
        region.calls.reset()
        region.instances.usage.reset_peaks()
    return Answer(204)


def show_resources(call: Call) -> Answer:
    """GET /control/regions/REGION/resources: everything there is, as it is."""
    region = _region(call, call.arguments[0])
    networking = region.networking
    document = {
        "servers": [
            {
                "id": server.id,
                "name": server.order.name,
                "status": server.status,
                "task": server.task,
                "metadata": server.metadata,
                "zone": server.zone,
                "created": server.created,
                "launched": server.launched,
                "addresses": [entry.address for entry in server.addresses],
                "faults": sorted(fault.value for fault in server.faults),
                "user_data": server.order.user_data,
                "deletions": server.deletions,
            }
            for server in region.instances.servers.values()
        ],
        "ports": [
            {"id": port.id, "device_id": port.device_id, "status": port.status, "name": port.name}
            for port in networking.ports.values()
        ],
        "floating_ips": [
            {"id": entry.id, "address": entry.address, "port_id": entry.port.id if entry.port else None}
            for entry in networking.floating_ips.values()
        ],
        "volumes": [
            {"id": volume.id, "size": volume.size, "server_id": volume.server_id, "metadata": volume.metadata}
            for volume in region.volumes.volumes.values()
        ],
        "images": [
            {"id": image.id, "name": image.name, "status": image.status, "properties": image.properties}
            for image in region.images.images.values()
        ],
    }
    return answer_json(document)


def change_region(call: Call) -> Answer:
    """POST /control/regions/REGION: new values for some of the region's settings, ``faults`` excepted."""
    document = call.request.json()
    if isinstance(document, Mapping) and "faults" in document:
        raise Refused(400, "faults: use /control/faults")
    _region(call, call.arguments[0]).change(document)
    return Answer(204)


def change_faults(call: Call) -> Answer:
    """POST /control/faults: ``{"clear": bool, "add": FAULTS, "regions": [NAME]}``; without regions: everywhere.

    ``identity`` among the regions is Keystone.
    """
    document = call.request.json()
    if not isinstance(document, Mapping) or document.keys() - {"clear", "add", "regions"}:
        raise Refused(400, "expected a mapping with some of clear, add, regions")
    rules = read(FaultSettings, document.get("add") or {}, "add")
    for plan in _plans(call, document.get("regions") or [_IDENTITY, *call.cloud.regions]):
        if document.get("clear"):
            plan.clear()
        plan.add(rules)
    return Answer(204)


def revoke_tokens(call: Call) -> Answer:
    """POST /control/tokens/revoke: no token is valid any more."""
    call.cloud.identity.revoke_all()
    return Answer(204)


def change_identity(call: Call) -> Answer:
    """POST /control/identity: new values for some of :data:`_OF_IDENTITY` from now on."""
    document, identity = call.request.json(), call.cloud.identity
    for key, value in document.items():
        if key not in _OF_IDENTITY:
            raise Refused(400, f"unknown key {key}")
        setattr(identity, key, value)
    return Answer(204)


def change_server(call: Call) -> Answer:
    """POST /control/regions/REGION/servers/ID: ``{"status": "ERROR" or "SHUTOFF" or "DELETED", "message": TEXT}``."""
    instances, document = _region(call, call.arguments[0]).instances, call.request.json()
    server = instances.servers.get(call.arguments[1])
    if server is None:
        raise Refused(404, f"no server {call.arguments[1]}")
    if document.get("status") not in ("ACTIVE", "ERROR", "SHUTOFF", "DELETED"):
        raise Refused(400, "status: expected ACTIVE, ERROR, SHUTOFF or DELETED")
    instances.set_status(server, document["status"], str(document.get("message", "")))
    return Answer(204)


def _region(call: Call, name: str) -> Region:
    region = call.cloud.regions.get(name)
    if region is None:
        raise Refused(404, f"no region {name}; there are {', '.join(call.cloud.regions)}")
    return region


def _plans(call: Call, names: Iterable[str]) -> list[FaultPlan]:
    return [call.cloud.identity_plan if name == _IDENTITY else _region(call, name).plan for name in names]


def _accounting(region: Region) -> dict[str, Any]:
    usage, networking, calls = region.instances.usage, region.networking, region.calls
    statuses: dict[str, int] = {}
    for server in region.instances.servers.values():
        name = server.task if server.task == "deleting" else server.status
        statuses[name] = statuses.get(name, 0) + 1
    return {
        "calls": calls.table(),
        "first_call": iso(calls.began) if calls.began is not None else None,
        "last_call": iso(calls.last) if calls.last is not None else None,
        "servers": {
            "alive": asdict(usage.alive),
            "peak": asdict(usage.peak),
            "over_quota": asdict(usage.over_quota),
            "created": usage.created,
            "gone": usage.gone,
            "refused": usage.refused,
            "by_status": statuses,
            "doubles": usage.doubles,
            "vanished": usage.vanished,
        },
        "ports": len(networking.ports),
        "floating_ips": len(networking.floating_ips),
        "volumes": len(region.volumes.volumes),
        "images": len(region.images.images),
        "uploaded_bytes": region.images.uploaded_bytes,
        "leftovers": region.leftovers(),
    }


ROUTES = (
    Route("GET", "accounting", "control", show_accounting, open=True),
    Route("POST", "accounting/reset", "control", reset_accounting, open=True),
    Route("GET", "regions/*/resources", "control", show_resources, open=True),
    Route("POST", "regions/*", "control", change_region, open=True),
    Route("POST", "regions/*/servers/*", "control", change_server, open=True),
    Route("POST", "faults", "control", change_faults, open=True),
    Route("POST", "tokens/revoke", "control", revoke_tokens, open=True),
    Route("POST", "identity", "control", change_identity, open=True),
)
