"""Fills a new cloud: identities and catalog, flavors, zones, networks. Waits for the services that it needs.

Every step looks before it creates, so that repeating one is harmless. Run by ``tools/openstack.sh``, in the cloud's own
virtual environment.
"""

from __future__ import annotations

import argparse
import time
from calendar import timegm
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import openstack
from openstack import exceptions

PATIENCE = 180.0
HOSTS = {"host1": "az1", "host2": "az2"}
"""Hosts of the fake hypervisor, each a zone."""
VM_HOST, VM_ZONE = "vm-host", "az-vm"
FLAVORS = [("m1.tiny", 256, 1, 1), ("m1.small", 1024, 1, 5), ("m1.medium", 4096, 2, 20), ("m1.large", 8192, 4, 40)]
"""Name, MiB of memory, cores, GiB of disk."""
SERVICES = (
    ("glance", "image", 1, ""),
    ("nova", "compute", 2, "/v2.1"),
    ("placement", "placement", 3, ""),
    ("neutron", "network", 4, ""),
)
"""Name, type, place of its port after the first, path."""


def connect(cloud: str) -> Any:
    """A connection of clouds.yaml."""
    return openstack.connect(cloud=cloud)


def identities(options: argparse.Namespace) -> None:
    """The catalog of services, the users that the services act as, and the user of the tests with his project."""
    admin = connect("admin")
    for name, kind, place, path in SERVICES:
        service = admin.identity.find_service(name) or admin.identity.create_service(name=name, type=kind)
        for interface in ("public", "internal"):
            if not list(admin.identity.endpoints(service_id=service.id, interface=interface)):
                admin.identity.create_endpoint(
                    service_id=service.id,
                    interface=interface,
                    region_id="RegionOne",
                    url=f"http://127.0.0.1:{options.first_port + place}{path}",
                )
    password = admin.config.get_auth_args()["password"]
    for name, roles in (("service", ("admin", "service")), ("nodepool", ("member",))):
        project = admin.identity.find_project(name) or admin.identity.create_project(name=name, domain_id="default")
        user = admin.identity.find_user(name) or admin.identity.create_user(
            name=name, domain_id="default", password=password, default_project_id=project.id
        )
        for role in roles:
            admin.identity.assign_project_role_to_user(project, user, admin.identity.find_role(role))


def wait(options: argparse.Namespace) -> None:
    """Wait until Nova's services have reported since they were started: "up" may be a report of an earlier run."""
    processes = {
        ("nova-conductor", "host1"): "nova-conductor",
        ("nova-scheduler", "host1"): "nova-scheduler",
        ("nova-compute", "host1"): "nova-compute",
        ("nova-compute", "host2"): "nova-compute2",
    }
    _wait_reported({key: (options.run / f"{name}.pid").stat().st_mtime for key, name in processes.items()})


def resources(_: argparse.Namespace) -> None:
    """Flavors, zones, an external network, and a network of the tests' project with a router."""
    admin = connect("admin")
    for name, memory, cores, disk in FLAVORS:
        if not admin.compute.find_flavor(name):
            admin.compute.create_flavor(name=name, ram=memory, vcpus=cores, disk=disk)
    for host, zone in HOSTS.items():
        _put_into_zone(admin, host, zone)
    public = admin.network.find_network("public") or admin.network.create_network(
        name="public",
        is_router_external=True,
        is_shared=False,
        provider_network_type="flat",
        provider_physical_network="public",
    )
    _make_subnet(admin, public, "203.0.113", 24, is_dhcp_enabled=False)
    user = connect("nodepool")
    private = user.network.find_network("private") or user.network.create_network(name="private")
    subnet_id = _make_subnet(user, private, "10.20.0", 20)
    router = user.network.find_router("router") or user.network.create_router(
        name="router", external_gateway_info={"network_id": public.id}
    )
    if not list(user.network.ports(device_id=router.id, device_owner="network:router_interface")):
        user.network.add_interface_to_router(router, subnet_id=subnet_id)


def vm_network(options: argparse.Namespace) -> None:
    """Wait for the host of the real virtual machines, and make their network."""
    _wait_reported({("nova-compute", VM_HOST): (options.run / "nova-vm.pid").stat().st_mtime})
    user = connect("nodepool")
    network = user.network.find_network("vm") or user.network.create_network(name="vm", is_port_security_enabled=False)
    _make_subnet(user, network, options.vm_network, 24, is_dhcp_enabled=False)


def vm_zone(_: argparse.Namespace) -> None:
    """Put that host into its zone. While it reports to Placement for the first time, this would fail there unseen."""
    _put_into_zone(connect("admin"), VM_HOST, VM_ZONE)


def _wait_reported(wanted: Mapping[tuple[str, str], float]) -> None:
    """Wait until each service (program and host) has reported since the given time (epoch seconds)."""
    admin, deadline = connect("admin"), time.monotonic() + PATIENCE
    missing = set(wanted)
    while missing:
        if time.monotonic() > deadline:
            raise SystemExit(f"not up within {PATIENCE:.0f} s: {sorted(missing)}")
        time.sleep(0.5)
        with suppress(exceptions.SDKException):
            for service in admin.compute.services():
                key = (service.binary, service.host)
                if service.state == "up" and key in wanted and _epoch(service.updated_at) > wanted[key]:
                    missing.discard(key)


def _epoch(text: str | None) -> int:
    return timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) if text else 0


def _put_into_zone(admin: Any, host: str, zone: str) -> None:
    aggregate = admin.compute.find_aggregate(zone) or admin.compute.create_aggregate(name=zone, availability_zone=zone)
    if host not in (aggregate.hosts or []):
        admin.compute.add_host_to_aggregate(aggregate, host)


def _make_subnet(cloud: Any, network: Any, start: str, bits: int, **further: Any) -> str:
    """Id of the one subnet of a network."""
    if network.subnet_ids:
        known: str = network.subnet_ids[0]
        return known
    made: str = cloud.network.create_subnet(
        name=network.name,
        network_id=network.id,
        ip_version=4,
        cidr=f"{start}.0/{bits}",
        gateway_ip=f"{start}.1",
        **further,
    ).id
    return made


STEPS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "identities": identities,
    "wait": wait,
    "resources": resources,
    "vm-network": vm_network,
    "vm-zone": vm_zone,
}


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--run", type=Path, required=True, help="folder of the pid files")
    parser.add_argument("--first-port", type=int, required=True)
    parser.add_argument("--vm-network", required=True, help="first three numbers of the network of virtual machines")
    options = parser.parse_args()
    STEPS[options.step](options)


if __name__ == "__main__":
    main()
