"""How Nova shows servers and flavors. Pure.

Two shapes: up to microversion 2.46 the flavor is a reference, from 2.47 on it is told in full; keys that came with
other microversions are always there.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache

from tools.cloud.records import Flavor, Server
from tools.cloud.state import Cloud, Region
from tools.cloud.timeline import iso

EMBEDDED_FLAVOR = (2, 47)
_VM_STATES = {"BUILD": "building", "ERROR": "error", "SHUTOFF": "stopped", "DELETED": "deleted"}
_POWER_STATES = {"ACTIVE": 1, "SHUTOFF": 4}


def server_fragment(cloud: Cloud, region: Region, server: Server, microversion: tuple[int, int]) -> bytes:
    """A server in full, as JSON; made once after each change."""
    shape = 47 if microversion >= EMBEDDED_FLAVOR else 1
    fragment = server.shown.get(shape)
    if fragment is None:
        fragment = json.dumps(_server(cloud, region, server, shape)).encode()
        server.shown[shape] = fragment
    return fragment


def server_reference(cloud: Cloud, region: Region, server: Server) -> dict[str, object]:
    """A server in a short list."""
    return {"id": server.id, "name": server.order.name, "links": _links(cloud, region, "servers", server.id)}


def flavor_view(cloud: Cloud, region: Region, flavor: Flavor, *, detailed: bool = True) -> dict[str, object]:
    """A flavor in a list or alone."""
    view: dict[str, object] = {
        "id": flavor.id,
        "name": flavor.name,
        "description": None,
        "links": _links(cloud, region, "flavors", flavor.id),
    }
    if detailed:
        view |= {
            "ram": flavor.ram,
            "vcpus": flavor.vcpus,
            "disk": flavor.disk,
            "swap": 0,
            "OS-FLV-EXT-DATA:ephemeral": 0,
            "OS-FLV-DISABLED:disabled": False,
            "os-flavor-access:is_public": True,
            "rxtx_factor": 1.0,
            "extra_specs": {},
        }
    return view


def _server(cloud: Cloud, region: Region, server: Server, shape: int) -> dict[str, object]:
    order, active = server.order, server.status == "ACTIVE"
    view: dict[str, object] = {
        "id": server.id,
        "name": order.name,
        "status": server.status,
        "tenant_id": region.place.project_id,
        "user_id": cloud.identity.user_id,
        "metadata": server.metadata,
        "hostId": _host_id(region.place.project_id, server.host),
        "image": _image(cloud, region, order.image_id),
        "flavor": _flavor(cloud, region, order.flavor, shape),
        "created": iso(server.created),
        "updated": iso(server.updated),
        "addresses": _addresses(server),
        "accessIPv4": "",
        "accessIPv6": "",
        "links": _links(cloud, region, "servers", server.id),
        "OS-DCF:diskConfig": "MANUAL",
        "OS-EXT-AZ:availability_zone": server.zone,
        "config_drive": "True" if order.config_drive else "",
        "key_name": order.key_name,
        "OS-SRV-USG:launched_at": _moment(server.launched),
        "OS-SRV-USG:terminated_at": _moment(server.terminated),
        "OS-EXT-STS:task_state": server.task,
        "OS-EXT-STS:vm_state": _VM_STATES.get(server.status, "active"),
        "OS-EXT-STS:power_state": _POWER_STATES.get(server.status, 0),
        "os-extended-volumes:volumes_attached": [
            {"id": volume.id, "delete_on_termination": volume.delete_with_server} for volume in server.volumes
        ],
        "locked": False,
        "locked_reason": None,
        "description": order.description,
        "tags": list(order.tags),
        "trusted_image_certificates": None,
        "server_groups": [],
        "pinned_availability_zone": order.zone or None,
    }
    if server.status in ("ACTIVE", "BUILD"):
        view["progress"] = 100 if active else 0
    if server.status not in ("BUILD", "ERROR"):
        view["security_groups"] = [{"name": name} for name in order.security_groups or ("default",)]
    if server.failure is not None and server.status in ("ERROR", "DELETED"):
        failure = server.failure
        view["fault"] = {"code": failure.code, "created": iso(failure.created), "message": failure.message}
    return view


def _addresses(server: Server) -> dict[str, list[dict[str, object]]]:
    networks: dict[str, list[dict[str, object]]] = {}
    for entry in server.addresses:
        networks.setdefault(entry.network, []).append(
            {
                "addr": entry.address,
                "version": entry.version,
                "OS-EXT-IPS:type": "floating" if entry.floating else "fixed",
                "OS-EXT-IPS-MAC:mac_addr": entry.mac,
            }
        )
    return networks


def _flavor(cloud: Cloud, region: Region, flavor: Flavor, shape: int) -> dict[str, object]:
    if shape == 1:
        return {"id": flavor.id, "links": _links(cloud, region, "flavors", flavor.id)[1:]}
    return {
        "vcpus": flavor.vcpus,
        "ram": flavor.ram,
        "disk": flavor.disk,
        "ephemeral": 0,
        "swap": 0,
        "original_name": flavor.name,
        "extra_specs": {},
    }


def _image(cloud: Cloud, region: Region, image_id: str) -> object:
    return {"id": image_id, "links": _links(cloud, region, "images", image_id)[1:]} if image_id else ""


def _links(cloud: Cloud, region: Region, collection: str, identifier: str) -> list[dict[str, str]]:
    base = f"{cloud.url}/{region.place.region}/compute"
    return [
        {"rel": "self", "href": f"{base}/v2.1/{collection}/{identifier}"},
        {"rel": "bookmark", "href": f"{base}/{collection}/{identifier}"},
    ]


@lru_cache(maxsize=4096)
def _host_id(project_id: str, host: str) -> str:
    return hashlib.sha224(f"{project_id}{host}".encode()).hexdigest() if host else ""


def _moment(seconds: float | None) -> str | None:
    return iso(seconds)[:-1] + ".000000" if seconds is not None else None
