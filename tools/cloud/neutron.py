"""Neutron's calls: networks, subnets, ports, floating addresses, security groups, quota. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode

from tools.cloud.exchange import Answer, Call, answer_json
from tools.cloud.neutron_views import floating_ip_view, network_view, port_view, security_group_view, subnet_view
from tools.cloud.records import FloatingIp, Port, Refused, SecurityGroup
from tools.cloud.routes import Route, under

T = TypeVar("T")
_EXTENSIONS = ("external-net", "quotas", "quota_details", "router", "security-group", "availability_zone", "pagination")
_NO_FILTERS = frozenset({"limit", "marker", "fields", "page_reverse", "sort_key", "sort_dir"})


def list_versions(call: Call) -> Answer:
    """GET /."""
    links = [{"rel": "self", "href": f"{call.url('network')}/v2.0/"}]
    return answer_json({"versions": [{"id": "v2.0", "status": "CURRENT", "links": links}]})


def list_resources(call: Call) -> Answer:
    """GET /v2.0/: nothing that a client needs."""
    del call
    return answer_json({"resources": []})


def list_extensions(call: Call) -> Answer:
    """GET /v2.0/extensions."""
    del call
    extensions = [{"alias": alias, "name": alias, "description": "", "links": []} for alias in _EXTENSIONS]
    return answer_json({"extensions": extensions})


def show_extension(call: Call) -> Answer:
    """GET /v2.0/extensions/ALIAS."""
    alias = call.arguments[0]
    if alias not in _EXTENSIONS:
        raise Refused(404, f"Extension with alias {alias} does not exist")
    return answer_json({"extension": {"alias": alias, "name": alias, "description": "", "links": []}})


def list_networks(call: Call) -> Answer:
    """GET /v2.0/networks."""
    return _list(
        call, "networks", (network_view(call, network) for network in call.region.networking.networks.values())
    )


def show_network(call: Call) -> Answer:
    """GET /v2.0/networks/ID."""
    network = _known(call.region.networking.networks, call.arguments[0], "Network", "NetworkNotFound")
    return answer_json({"network": network_view(call, network)})


def list_subnets(call: Call) -> Answer:
    """GET /v2.0/subnets."""
    return _list(call, "subnets", (subnet_view(call, subnet) for subnet in call.region.networking.subnets.values()))


def show_subnet(call: Call) -> Answer:
    """GET /v2.0/subnets/ID."""
    subnet = _known(call.region.networking.subnets, call.arguments[0], "Subnet", "SubnetNotFound")
    return answer_json({"subnet": subnet_view(call, subnet)})


def list_routers(call: Call) -> Answer:
    """GET /v2.0/routers: one, from the internal networks to the first external one."""
    external = [network for network in call.region.networking.networks.values() if network.external]
    gateway = {"network_id": external[0].id, "external_fixed_ips": []} if external else None
    router = {"id": call.region.place.project_id, "name": "router", "status": "ACTIVE", "admin_state_up": True}
    return _list(call, "routers", [router | {"external_gateway_info": gateway}])


def list_ports(call: Call) -> Answer:
    """GET /v2.0/ports."""
    networking, wanted = call.region.networking, call.request.parameters().get("device_id")
    ports: Iterable[Port] = networking.ports.values()
    if wanted:
        ports = [port for device_id in wanted for port in networking.ports_of(device_id)]
    return _list(call, "ports", (port_view(call, port) for port in ports))


def show_port(call: Call) -> Answer:
    """GET /v2.0/ports/ID."""
    port = _known(call.region.networking.ports, call.arguments[0], "Port", "PortNotFound")
    return answer_json({"port": port_view(call, port)})


def create_port(call: Call) -> Answer:
    """POST /v2.0/ports."""
    wanted, networking = call.request.part("port"), call.region.networking
    network = _known(networking.networks, str(wanted.get("network_id")), "Network", "NetworkNotFound")
    fixed = wanted.get("fixed_ips") or [{}]
    port = networking.create_port(
        network,
        device_id=str(wanted.get("device_id") or ""),
        device_owner=str(wanted.get("device_owner") or ""),
        name=str(wanted.get("name") or ""),
        wanted=str(fixed[0].get("ip_address") or ""),
        security_groups=tuple(wanted.get("security_groups") or ()),
    )
    return answer_json({"port": port_view(call, port)}, 201)


def update_port(call: Call) -> Answer:
    """PUT /v2.0/ports/ID: whose it is."""
    wanted, networking = call.request.part("port"), call.region.networking
    port = _known(networking.ports, call.arguments[0], "Port", "PortNotFound")
    device_id, owner = wanted.get("device_id", port.device_id), wanted.get("device_owner", port.device_owner)
    networking.attach_port(port, str(device_id), str(owner))
    return answer_json({"port": port_view(call, port)})


def delete_port(call: Call) -> Answer:
    """DELETE /v2.0/ports/ID: as of Neutron 29, a member must first let a port name no server."""
    networking = call.region.networking
    port = _known(networking.ports, call.arguments[0], "Port", "PortNotFound")
    if port.device_owner.startswith("compute:"):
        raise Refused(403, "rule:delete_port is disallowed by policy", "PolicyNotAuthorized")
    networking.delete_port(port)
    return Answer(204)


def list_floating_ips(call: Call) -> Answer:
    """GET /v2.0/floatingips."""
    entries = call.region.networking.floating_ips.values()
    return _list(call, "floatingips", (floating_ip_view(call, entry) for entry in entries))


def show_floating_ip(call: Call) -> Answer:
    """GET /v2.0/floatingips/ID."""
    return answer_json({"floatingip": floating_ip_view(call, _known_floating_ip(call))})


def create_floating_ip(call: Call) -> Answer:
    """POST /v2.0/floatingips."""
    wanted, networking = call.request.part("floatingip"), call.region.networking
    network = _known(networking.networks, str(wanted.get("floating_network_id")), "Network", "NetworkNotFound")
    port, fixed = _wanted_port(call, wanted), wanted.get("fixed_ip_address")
    floating = networking.create_floating_ip(network, port, fixed, str(wanted.get("description") or ""))
    return answer_json({"floatingip": floating_ip_view(call, floating)}, 201)


def update_floating_ip(call: Call) -> Answer:
    """PUT /v2.0/floatingips/ID: attach or detach it."""
    wanted, floating = call.request.part("floatingip"), _known_floating_ip(call)
    if "port_id" in wanted:
        call.region.networking.associate(floating, _wanted_port(call, wanted), wanted.get("fixed_ip_address"))
    floating.description = str(wanted.get("description", floating.description))
    return answer_json({"floatingip": floating_ip_view(call, floating)})


def delete_floating_ip(call: Call) -> Answer:
    """DELETE /v2.0/floatingips/ID."""
    call.region.networking.delete_floating_ip(_known_floating_ip(call))
    return Answer(204)


def list_security_groups(call: Call) -> Answer:
    """GET /v2.0/security-groups."""
    groups = call.region.networking.security_groups.values()
    return _list(call, "security_groups", (security_group_view(call, group) for group in groups))


def show_security_group(call: Call) -> Answer:
    """GET /v2.0/security-groups/ID."""
    return answer_json({"security_group": security_group_view(call, _known_group(call))})


def create_security_group(call: Call) -> Answer:
    """POST /v2.0/security-groups."""
    wanted = call.request.part("security_group")
    group = call.region.networking.create_security_group(str(wanted.get("name")), str(wanted.get("description") or ""))
    return answer_json({"security_group": security_group_view(call, group)}, 201)


def delete_security_group(call: Call) -> Answer:
    """DELETE /v2.0/security-groups/ID."""
    call.region.networking.delete_security_group(_known_group(call))
    return Answer(204)


def create_rule(call: Call) -> Answer:
    """POST /v2.0/security-group-rules: kept and shown, without effect."""
    wanted, groups = call.request.part("security_group_rule"), call.region.networking.security_groups
    group_id = str(wanted.get("security_group_id"))
    group = _known(groups, group_id, "Security group", "SecurityGroupNotFound")
    rule = {"id": call.region.place.identifier("rule", group_id), **wanted}
    group.rules.append(rule)
    return answer_json({"security_group_rule": rule}, 201)


def show_quota(call: Call) -> Answer:
    """GET /v2.0/quotas/PROJECT."""
    return answer_json({"quota": {name: limit for name, (limit, _) in _quota(call).items()}})


def show_quota_in_detail(call: Call) -> Answer:
    """GET /v2.0/quotas/PROJECT/details."""
    details = {name: {"limit": limit, "used": used, "reserved": 0} for name, (limit, used) in _quota(call).items()}
    return answer_json({"quota": details})


def _list(call: Call, key: str, views: Iterable[Mapping[str, Any]]) -> Answer:
    parameters = call.request.parameters()
    wanted = {name: values for name, values in parameters.items() if name not in _NO_FILTERS}
    found = [view for view in views if _fits(view, wanted)] if wanted else list(views)
    if fields := parameters.get("fields"):
        found = [{name: view[name] for name in fields if name in view} for view in found]
    document: dict[str, Any] = {key: found}
    limit = int(parameters.get("limit", ["0"])[-1])
    if limit:
        document = _first_page(call, key, found, limit, parameters)
    return answer_json(document)


def _first_page(call: Call, key: str, found: list[Any], limit: int, parameters: dict[str, list[str]]) -> dict[str, Any]:
    marker = parameters.get("marker", [""])[-1]
    start = next((place + 1 for place, view in enumerate(found) if view["id"] == marker), 0)
    if marker and not start:
        raise Refused(404, f"{key.removesuffix('s').capitalize()} {marker} could not be found.")
    page = found[start : start + limit]
    if len(page) < limit:
        return {key: page}
    query = urlencode(parameters | {"marker": [page[-1]["id"]]}, doseq=True)
    collection = key.replace("_", "-")
    link = {"rel": "next", "href": f"{call.url('network')}/v2.0/{collection}?{query}"}
    return {key: page, f"{key}_links": [link]}


def _fits(view: Mapping[str, Any], wanted: Mapping[str, list[str]]) -> bool:
    return all(name not in view or _text(view[name]) in map(str.lower, values) for name, values in wanted.items())


def _text(value: object) -> str:
    return "" if value is None else str(value).lower()


def _known(collection: Mapping[str, T], identifier: str, what: str, kind: str) -> T:
    found = collection.get(identifier)
    if found is None:
        raise Refused(404, f"{what} {identifier} could not be found.", kind)
    return found


def _known_floating_ip(call: Call) -> FloatingIp:
    return _known(call.region.networking.floating_ips, call.arguments[0], "Floating IP", "FloatingIPNotFound")


def _known_group(call: Call) -> SecurityGroup:
    groups = call.region.networking.security_groups
    return _known(groups, call.arguments[0], "Security group", "SecurityGroupNotFound")


def _wanted_port(call: Call, wanted: Mapping[str, Any]) -> Port | None:
    identifier = wanted.get("port_id")
    return _known(call.region.networking.ports, str(identifier), "Port", "PortNotFound") if identifier else None


def _quota(call: Call) -> dict[str, tuple[int, int]]:
    """Limit and use, by resource."""
    quota, networking = call.region.settings.quota, call.region.networking
    return {
        "port": (quota.ports, len(networking.ports)),
        "floatingip": (quota.floating_ips, len(networking.floating_ips)),
        "network": (quota.networks, len(networking.networks)),
        "subnet": (quota.networks, len(networking.subnets)),
        "router": (10, 1),
        "security_group": (quota.security_groups, len(networking.security_groups)),
        "security_group_rule": (1000, 0),
        "subnetpool": (-1, 0),
        "rbac_policy": (10, 0),
    }


ROUTES = (
    Route("GET", "", "network.version.list", list_versions, open=True),
    *under(
        "v2.0",
        (
            Route("GET", "", "network.version.show", list_resources, open=True),
            Route("GET", "extensions", "network.extension.list", list_extensions),
            Route("GET", "extensions/*", "network.extension.show", show_extension),
            Route("GET", "networks", "network.network.list", list_networks),
            Route("GET", "networks/*", "network.network.show", show_network),
            Route("GET", "subnets", "network.subnet.list", list_subnets),
            Route("GET", "subnets/*", "network.subnet.show", show_subnet),
            Route("GET", "routers", "network.router.list", list_routers),
            Route("GET", "ports", "network.port.list", list_ports),
            Route("POST", "ports", "network.port.create", create_port),
            Route("GET", "ports/*", "network.port.show", show_port),
            Route("PUT", "ports/*", "network.port.update", update_port),
            Route("DELETE", "ports/*", "network.port.delete", delete_port),
            Route("GET", "floatingips", "network.floatingip.list", list_floating_ips),
            Route("POST", "floatingips", "network.floatingip.create", create_floating_ip),
            Route("GET", "floatingips/*", "network.floatingip.show", show_floating_ip),
            Route("PUT", "floatingips/*", "network.floatingip.update", update_floating_ip),
            Route("DELETE", "floatingips/*", "network.floatingip.delete", delete_floating_ip),
            Route("GET", "security-groups", "network.security-group.list", list_security_groups),
            Route("POST", "security-groups", "network.security-group.create", create_security_group),
            Route("GET", "security-groups/*", "network.security-group.show", show_security_group),
            Route("DELETE", "security-groups/*", "network.security-group.delete", delete_security_group),
            Route("POST", "security-group-rules", "network.security-group.update", create_rule),
            Route("GET", "quotas/*", "network.quota.show", show_quota),
            Route("GET", "quotas/*/details", "network.quota.show", show_quota_in_detail),
        ),
    ),
)
