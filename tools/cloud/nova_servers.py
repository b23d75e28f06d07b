"""Nova's calls about servers. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from tools.cloud.exchange import Answer, Call, answer_json
from tools.cloud.nova_orders import read_metadata, read_order
from tools.cloud.nova_views import server_fragment, server_reference
from tools.cloud.records import DELETING, Refused, Server
from tools.cloud.routes import Route
from tools.cloud.timeline import from_iso

_OLDEST = (2, 1)
_VERSION_HEADERS = ("openstack-api-version", "x-openstack-nova-api-version")


def microversion(call: Call) -> tuple[int, int]:
    """The microversion a call asks for. Raises Refused (406)."""
    headers = call.request.headers
    text = next((headers[name] for name in _VERSION_HEADERS if name in headers), "2.1").removeprefix("compute").strip()
    newest = tuple(map(int, call.region.settings.microversion.split(".")))
    if text == "latest":
        return newest[0], newest[1]
    major, _, minor = text.partition(".")
    wanted = (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else (0, 0)
    if not _OLDEST <= wanted <= newest:
        versions = f"Minimum is 2.1 and maximum is {call.region.settings.microversion}."
        raise Refused(406, f"Version {text} is not supported by the API. {versions}")
    return wanted


def create(call: Call) -> Answer:
    """POST /servers."""
    order = read_order(call.region, call.request.part("server"), microversion(call))
    server = call.region.instances.create(order)
    reference = server_reference(call.cloud, call.region, server)
    del reference["name"]
    reference |= {
        "OS-DCF:diskConfig": "MANUAL",
        "security_groups": [{"name": name} for name in order.security_groups or ("default",)],
        "adminPass": "not-a-secret",
    }
    location = {"Location": f"{call.url('compute')}/v2.1/servers/{server.id}"}
    return answer_json({"server": reference}, 202, location)


def show(call: Call) -> Answer:
    """GET /servers/ID: the server as it is, without any lag."""
    fragment = server_fragment(call.cloud, call.region, _server(call), microversion(call))
    return Answer(200, b'{"server": %b}' % fragment)


def delete(call: Call) -> Answer:
    """DELETE /servers/ID."""
    call.region.instances.delete(_server(call))
    return Answer(204)


def list_detailed(call: Call) -> Answer:
    """GET /servers/detail."""
    version = microversion(call)
    cloud, region = call.cloud, call.region
    return _page(call, "servers/detail", lambda server: server_fragment(cloud, region, server, version))


def list_short(call: Call) -> Answer:
    """GET /servers."""
    cloud, region = call.cloud, call.region
    return _page(call, "servers", lambda server: json.dumps(server_reference(cloud, region, server)).encode())


def act(call: Call) -> Answer:
    """POST /servers/ID/action."""
    server, document = _server(call), call.request.json()
    action, options = next(iter(document.items())) if isinstance(document, dict) and document else ("", None)
    if action == "os-getConsoleOutput":
        return answer_json({"output": _console(call, server, options or {})})
    statuses = {"os-stop": "SHUTOFF", "os-start": "ACTIVE", "reboot": "ACTIVE"}
    if action not in statuses:
        raise Refused(400, f"There is no such action: {action}")
    if server.task is not None or server.status not in ("ACTIVE", "SHUTOFF"):
        busy = f"Cannot '{action}' instance {server.id} while it is in task_state {server.task}"
        raise Refused(409, busy)
    call.region.instances.set_status(server, statuses[action])
    return Answer(202)


def rename(call: Call) -> Answer:
    """PUT /servers/ID: taken, without effect."""
    call.request.part("server")
    return show(call)


def show_metadata(call: Call) -> Answer:
    """GET /servers/ID/metadata."""
    return answer_json({"metadata": _server(call).metadata})


def replace_metadata(call: Call) -> Answer:
    """PUT /servers/ID/metadata."""
    return _set_metadata(call, read_metadata(call.request.json().get("metadata")))


def update_metadata(call: Call) -> Answer:
    """POST /servers/ID/metadata."""
    return _set_metadata(call, {**_server(call).metadata, **read_metadata(call.request.json().get("metadata"))})


def delete_metadata(call: Call) -> Answer:
    """DELETE /servers/ID/metadata/KEY."""
    server, key = _server(call), call.arguments[1]
    if key not in server.metadata:
        raise Refused(404, "Metadata item was not found")
    call.region.instances.set_metadata(server, {name: text for name, text in server.metadata.items() if name != key})
    return Answer(204)


def list_security_groups(call: Call) -> Answer:
    """GET /servers/ID/os-security-groups."""
    networking = call.region.networking
    names = _server(call).order.security_groups or ("default",)
    groups = [group for name in names if (group := networking.security_group(name)) is not None]
    return answer_json(
        {"security_groups": [{"id": group.id, "name": group.name, "description": "", "rules": []} for group in groups]}
    )


def list_interfaces(call: Call) -> Answer:
    """GET /servers/ID/os-interface."""
    ports = call.region.networking.ports_of(_server(call).id)
    attachments = [
        {
            "port_id": port.id,
            "net_id": port.network_id,
            "mac_addr": port.mac,
            "port_state": port.status,
            "fixed_ips": [{"subnet_id": subnet, "ip_address": address} for subnet, address in port.fixed],
        }
        for port in ports
    ]
    return answer_json({"interfaceAttachments": attachments})


def list_volumes(call: Call) -> Answer:
    """GET /servers/ID/os-volume_attachments."""
    server = _server(call)
    attachments = [
        {"id": volume.id, "volumeId": volume.id, "serverId": server.id, "device": "/dev/vda"}
        for volume in server.volumes
    ]
    return answer_json({"volumeAttachments": attachments})


def _server(call: Call) -> Server:
    server = call.region.instances.servers.get(call.arguments[0])
    if server is None:
        raise Refused(404, f"Instance {call.arguments[0]} could not be found.")
    return server


def _set_metadata(call: Call, metadata: dict[str, str]) -> Answer:
    call.region.instances.set_metadata(_server(call), metadata)
    return answer_json({"metadata": metadata})


def _console(call: Call, server: Server, options: dict[str, Any]) -> str:
    if server.status != "ACTIVE" or server.task == DELETING:
        raise Refused(409, f"Instance {server.id} is not ready")
    lines = call.region.settings.console.replace("{name}", server.order.name).splitlines()
    length = options.get("length")
    return "\n".join(lines[-int(length) :] if length is not None and int(length) >= 0 else lines)


def _page(call: Call, path: str, render: Callable[[Server], bytes]) -> Answer:
    parameters = call.request.parameters()
    if "all_tenants" in parameters and parameters["all_tenants"][-1].lower() in ("", "1", "true"):
        rule = "os_compute_api:servers:detail:get_all_tenants"
        raise Refused(403, f"Policy doesn't allow {rule} to be performed.")
    limit = _limit(call, parameters)
    servers = _filtered(_listed(call, parameters), parameters)
    page = list(islice(_after_marker(call, servers, parameters), limit))
    body = b", ".join(map(render, page))
    if len(page) < limit or not page:
        return Answer(200, b'{"servers": [%b]}' % body)
    query = urlencode(parameters | {"marker": [page[-1].id], "limit": [str(limit)]}, doseq=True)
    links = [{"rel": "next", "href": f"{call.url('compute')}/v2.1/{path}?{query}"}]
    return Answer(200, b'{"servers": [%b], "servers_links": %b}' % (body, json.dumps(links).encode()))


def _limit(call: Call, parameters: dict[str, list[str]]) -> int:
    text = parameters.get("limit", ["0"])[-1]
    if not text.isdecimal():
        raise Refused(400, f"Invalid input for query parameters limit. Value: {text}.")
    most = call.region.settings.page
    return min(int(text) or most, most)


def _listed(call: Call, parameters: dict[str, list[str]]) -> Iterable[Server]:
    """The newest first."""
    instances = call.region.instances
    if "changes-since" not in parameters:
        return reversed(instances.shown.values())
    text = parameters["changes-since"][-1]
    try:
        since = from_iso(text)
    except ValueError:
        raise Refused(400, f"Invalid input for query parameters changes-since. Value: {text}.") from None
    changed = []
    for server in reversed(instances.changes.values()):
        if int(server.updated) < since:
            break
        changed.append(server)
    return sorted(changed, key=lambda server: -server.number)


def _filtered(servers: Iterable[Server], parameters: dict[str, list[str]]) -> Iterable[Server]:
    if name := parameters.get("name"):
        try:
            pattern = re.compile(name[-1])
        except re.error:
            raise Refused(400, f"Invalid input for query parameters name. Value: {name[-1]}.") from None
        servers = (server for server in servers if pattern.search(server.order.name))
    if statuses := parameters.get("status"):
        wanted = {status.upper() for status in statuses}
        servers = (server for server in servers if server.status in wanted)
    if identifiers := parameters.get("uuid"):
        servers = (server for server in servers if server.id in identifiers)
    if images := parameters.get("image"):
        servers = (server for server in servers if server.order.image_id == images[-1])
    if flavors := parameters.get("flavor"):
        servers = (server for server in servers if server.order.flavor.id == flavors[-1])
    return servers


def _after_marker(call: Call, servers: Iterable[Server], parameters: dict[str, list[str]]) -> Iterable[Server]:
    marker = parameters.get("marker", [""])[-1]
    if not marker:
        return servers
    instances = call.region.instances
    last = instances.changes.get(marker) or instances.servers.get(marker)
    if last is None:
        raise Refused(400, f"marker [{marker}] not found")
    number = last.number
    return (server for server in servers if server.number < number)


ROUTES = (
    Route("POST", "servers", "compute.server.create", create),
    Route("GET", "servers", "compute.server.list-short", list_short),
    Route("GET", "servers/detail", "compute.server.list", list_detailed),
    Route("GET", "servers/*", "compute.server.show", show),
    Route("PUT", "servers/*", "compute.server.update", rename),
    Route("DELETE", "servers/*", "compute.server.delete", delete),
    Route("POST", "servers/*/action", "compute.server.action", act),
    Route("GET", "servers/*/metadata", "compute.server-metadata.show", show_metadata),
    Route("PUT", "servers/*/metadata", "compute.server-metadata.replace", replace_metadata),
    Route("POST", "servers/*/metadata", "compute.server-metadata.update", update_metadata),
    Route("DELETE", "servers/*/metadata/*", "compute.server-metadata.delete", delete_metadata),
    Route("GET", "servers/*/os-security-groups", "compute.server-security-group.list", list_security_groups),
    Route("GET", "servers/*/os-interface", "compute.server-interface.list", list_interfaces),
    Route("GET", "servers/*/os-volume_attachments", "compute.server-volume.list", list_volumes),
)
