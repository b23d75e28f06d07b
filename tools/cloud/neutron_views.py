"""How Neutron shows its resources. Pure."""

from __future__ import annotations

from typing import Any

from tools.cloud.exchange import Call
from tools.cloud.networks import Network, Subnet
from tools.cloud.records import FloatingIp, Port, SecurityGroup
from tools.cloud.timeline import iso


def network_view(call: Call, network: Network) -> dict[str, Any]:
    """A network."""
    return {
        "id": network.id,
        "name": network.name,
        "status": "ACTIVE",
        "admin_state_up": True,
        "shared": network.shared,
        "router:external": network.external,
        "subnets": [subnet.id for subnet in network.subnets],
        "mtu": 1500,
        "port_security_enabled": True,
        "availability_zones": ["nova"],
        "availability_zone_hints": [],
        "tags": [],
        "description": "",
        "is_default": False,
        **_ownership(call, network.created),
    }


def subnet_view(call: Call, subnet: Subnet) -> dict[str, Any]:
    """A subnet."""
    network = call.region.networking.networks[subnet.network_id]
    view = {
        "id": subnet.id,
        "name": subnet.name,
        "network_id": subnet.network_id,
        "ip_version": subnet.version,
        "cidr": str(subnet.pool.network),
        "gateway_ip": subnet.pool.gateway,
        "enable_dhcp": True,
        "dns_nameservers": [],
        "host_routes": [],
        "allocation_pools": [],
        "tags": [],
        "description": "",
        **_ownership(call, network.created),
    }
    return view | ({"ipv6_address_mode": "slaac", "ipv6_ra_mode": "slaac"} if subnet.version == 6 else {})


def port_view(call: Call, port: Port) -> dict[str, Any]:
    """A port; made once after each change."""
    if port.shown is None:
        port.shown = {
            "id": port.id,
            "name": port.name,
            "network_id": port.network_id,
            "status": port.status,
            "admin_state_up": True,
            "mac_address": port.mac,
            "fixed_ips": [{"subnet_id": subnet, "ip_address": address} for subnet, address in port.fixed],
            "device_id": port.device_id,
            "device_owner": port.device_owner,
            "security_groups": list(port.security_groups),
            "binding:vnic_type": "normal",
            "port_security_enabled": True,
            "allowed_address_pairs": [],
            "extra_dhcp_opts": [],
            "tags": [],
            "description": "",
            **_ownership(call, port.created),
            "updated_at": iso(port.updated),
        }
    return port.shown


def floating_ip_view(call: Call, floating: FloatingIp) -> dict[str, Any]:
    """A floating address."""
    return {
        "id": floating.id,
        "floating_ip_address": floating.address,
        "floating_network_id": floating.network_id,
        "fixed_ip_address": floating.fixed_address,
        "port_id": floating.port.id if floating.port else None,
        "port_details": _port_details(floating.port) if floating.port else None,
        "router_id": call.region.place.project_id if floating.port else None,
        "status": floating.status,
        "description": floating.description,
        "tags": [],
        **_ownership(call, floating.created),
        "updated_at": iso(floating.updated),
    }


def _port_details(port: Port) -> dict[str, Any]:
    """What the extension fip-port-details tells."""
    return {
        "name": port.name,
        "network_id": port.network_id,
        "mac_address": port.mac,
        "admin_state_up": True,
        "status": port.status,
        "device_id": port.device_id,
        "device_owner": port.device_owner,
    }


def security_group_view(call: Call, group: SecurityGroup) -> dict[str, Any]:
    """A security group."""
    return {
        "id": group.id,
        "name": group.name,
        "description": group.description,
        "security_group_rules": group.rules,
        "stateful": True,
        "tags": [],
        **_ownership(call, group.created),
    }


def _ownership(call: Call, created: float) -> dict[str, Any]:
    project = call.region.place.project_id
    moment = iso(created)
    return {
        "tenant_id": project,
        "project_id": project,
        "created_at": moment,
        "updated_at": moment,
        "revision_number": 1,
    }
