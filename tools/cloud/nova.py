"""Nova but for servers: version, flavors, limits, quota, zones, key pairs. Pure."""

from __future__ import annotations

import hashlib
from typing import Any

from tools.cloud import nova_servers
from tools.cloud.exchange import Answer, Call, answer_json
from tools.cloud.nova_views import flavor_view
from tools.cloud.records import Flavor, Refused
from tools.cloud.routes import Route, under
from tools.cloud.settings import UNLIMITED


def show_version(call: Call) -> Answer:
    """GET /v2.1/: what microversions there are."""
    return answer_json({"version": _version(call)})


def list_versions(call: Call) -> Answer:
    """GET /."""
    return answer_json({"versions": [_version(call)]})


def list_flavors(call: Call) -> Answer:
    """GET /flavors."""
    flavors = call.region.flavors.values()
    return answer_json(
        {"flavors": [flavor_view(call.cloud, call.region, flavor, detailed=False) for flavor in flavors]}
    )


def list_flavors_detailed(call: Call) -> Answer:
    """GET /flavors/detail."""
    smallest = int(call.request.parameter("minRam") or 0)
    flavors = [flavor for flavor in call.region.flavors.values() if flavor.ram >= smallest]
    return answer_json({"flavors": [flavor_view(call.cloud, call.region, flavor) for flavor in flavors]})


def show_flavor(call: Call) -> Answer:
    """GET /flavors/ID."""
    return answer_json({"flavor": flavor_view(call.cloud, call.region, _flavor(call))})


def show_extra_specs(call: Call) -> Answer:
    """GET /flavors/ID/os-extra_specs."""
    _flavor(call)
    return answer_json({"extra_specs": {}})


def show_limits(call: Call) -> Answer:
    """GET /limits: quota and use of this project."""
    quota, used = call.region.settings.quota, call.region.instances.usage.alive
    absolute = {
        "maxServerMeta": 128,
        "maxTotalInstances": quota.instances,
        "maxTotalCores": quota.cores,
        "maxTotalRAMSize": quota.ram,
        "maxTotalKeypairs": 100,
        "maxServerGroups": 10,
        "maxServerGroupMembers": 10,
        "totalInstancesUsed": used.instances,
        "totalCoresUsed": used.cores,
        "totalRAMUsed": used.ram,
        "totalServerGroupsUsed": 0,
    }
    return answer_json({"limits": {"rate": [], "absolute": absolute}})


def show_quota(call: Call) -> Answer:
    """GET /os-quota-sets/PROJECT."""
    return answer_json({"quota_set": {"id": call.arguments[0], **_quota(call)}})


def show_quota_in_detail(call: Call) -> Answer:
    """GET /os-quota-sets/PROJECT/detail."""
    used = call.region.instances.usage.alive
    in_use = {"instances": used.instances, "cores": used.cores, "ram": used.ram}
    details = {
        name: {"limit": limit, "in_use": in_use.get(name, 0), "reserved": 0} for name, limit in _quota(call).items()
    }
    return answer_json({"quota_set": {"id": call.arguments[0], **details}})


def list_zones(call: Call) -> Answer:
    """GET /os-availability-zone."""
    zones = [{"zoneName": zone, "zoneState": {"available": True}, "hosts": None} for zone in call.region.settings.zones]
    return answer_json({"availabilityZoneInfo": zones})


def list_key_pairs(call: Call) -> Answer:
    """GET /os-keypairs."""
    return answer_json({"keypairs": [{"keypair": _key_pair(call, name)} for name in call.region.key_pairs]})


def show_key_pair(call: Call) -> Answer:
    """GET /os-keypairs/NAME."""
    return answer_json({"keypair": _key_pair(call, call.arguments[0])})


def create_key_pair(call: Call) -> Answer:
    """POST /os-keypairs: imports a public key."""
    wanted = call.request.part("keypair")
    name = str(wanted.get("name"))
    if name in call.region.key_pairs:
        raise Refused(409, f"Key pair '{name}' already exists.")
    call.region.key_pairs[name] = str(wanted.get("public_key") or f"ssh-ed25519 {name}")
    return answer_json({"keypair": _key_pair(call, name)}, 201)


def delete_key_pair(call: Call) -> Answer:
    """DELETE /os-keypairs/NAME."""
    _key_pair(call, call.arguments[0])
    del call.region.key_pairs[call.arguments[0]]
    return Answer(204)


def list_server_groups(call: Call) -> Answer:
    """GET /os-server-groups: there are none."""
    del call
    return answer_json({"server_groups": []})


def _version(call: Call) -> dict[str, Any]:
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": call.region.settings.microversion,
        "min_version": "2.1",
        "updated": "2013-07-23T11:33:21Z",
        "links": [{"rel": "self", "href": f"{call.url('compute')}/v2.1/"}],
    }


def _flavor(call: Call) -> Flavor:
    flavor = call.region.flavors.get(call.arguments[0])
    if flavor is None:
        raise Refused(404, f"Flavor {call.arguments[0]} could not be found.")
    return flavor


def _quota(call: Call) -> dict[str, int]:
    quota = call.region.settings.quota
    return {
        "instances": quota.instances,
        "cores": quota.cores,
        "ram": quota.ram,
        "key_pairs": 100,
        "metadata_items": 128,
        "server_groups": 10,
        "server_group_members": 10,
        "injected_files": UNLIMITED,
    }


def _key_pair(call: Call, name: str) -> dict[str, Any]:
    key = call.region.key_pairs.get(name)
    if key is None:
        raise Refused(404, f"Keypair {name} not found for user {call.cloud.identity.user_id}")
    digest = hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()
    fingerprint = ":".join(digest[place : place + 2] for place in range(0, len(digest), 2))
    return {"name": name, "public_key": key, "fingerprint": fingerprint, "type": "ssh"}


ROUTES = (
    Route("GET", "", "compute.version.list", list_versions, open=True),
    Route("GET", "v2.1", "compute.version.show", show_version, open=True),
    *under(
        "v2.1",
        (
            *nova_servers.ROUTES,
            Route("GET", "flavors", "compute.flavor.list", list_flavors),
            Route("GET", "flavors/detail", "compute.flavor.list", list_flavors_detailed),
            Route("GET", "flavors/*", "compute.flavor.show", show_flavor),
            Route("GET", "flavors/*/os-extra_specs", "compute.flavor.show", show_extra_specs),
            Route("GET", "limits", "compute.limits.show", show_limits),
            Route("GET", "os-quota-sets/*", "compute.quota.show", show_quota),
            Route("GET", "os-quota-sets/*/detail", "compute.quota.show", show_quota_in_detail),
            Route("GET", "os-availability-zone", "compute.zone.list", list_zones),
            Route("GET", "os-keypairs", "compute.keypair.list", list_key_pairs),
            Route("POST", "os-keypairs", "compute.keypair.create", create_key_pair),
            Route("GET", "os-keypairs/*", "compute.keypair.show", show_key_pair),
            Route("DELETE", "os-keypairs/*", "compute.keypair.delete", delete_key_pair),
            Route("GET", "os-server-groups", "compute.server-group.list", list_server_groups),
        ),
    ),
)
