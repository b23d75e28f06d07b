"""A user of a simulated cloud with the real openstacksdk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import openstack
from openstack.config.loader import OpenStackConfig
from openstack.connection import Connection

from tests.zookeeper import eventually
from tools.cloud.process import CloudProcess

SETTINGS: dict[str, Any] = {
    "region": {
        "boot": 0.05,
        "delete": 0.05,
        "page": 3,
        "key_pairs": ["key"],
        "networks": [
            {"name": "private", "cidr": "10.20.0.0/16"},
            {"name": "dual", "cidr": "10.21.0.0/16", "cidr6": "fd00:21::/64"},
            {"name": "public", "cidr": "198.18.0.0/16", "external": True},
        ],
    },
    "regions": {
        "east": {},
        "west": {"networks": [{"name": "provider", "cidr": "203.0.113.0/24", "external": True, "shared": True}]},
    },
}
"""Two regions: ``east`` with internal networks, ``west`` with one external network for servers."""


def connect(cloud: CloudProcess, entry: str = "simulated", region: str = "east", **options: Any) -> Connection:
    """A connection by the clouds.yaml that the cloud wrote, and nothing from the environment."""
    loader = OpenStackConfig(config_files=[str(cloud.clouds_yaml)], load_envvars=False)
    return openstack.connection.Connection(
        config=loader.get_one(cloud=entry, region_name=region, **options), app_name="nodepool", app_version="12"
    )


@contextlib.contextmanager
def user(simulated: CloudProcess) -> Iterator[Connection]:
    """A user of region east, who leaves nothing behind."""
    with connect(simulated) as connection:
        yield connection
        simulated.control.clear_faults()
        # The whole list first: who deletes while listing may take away the server that leads to the next page.
        for server in list(connection.compute.servers()):
            connection.compute.delete_server(server)
        eventually(lambda: not list(connection.compute.servers()))
        for address in connection.network.ips():
            connection.network.delete_ip(address)
        for port in connection.network.ports():
            connection.network.update_port(port, device_id="", device_owner="")
            connection.network.delete_port(port)
        for image in connection.image.images(visibility="private"):
            connection.delete_image(image.id)


def order(client: Connection, name: str = "np1", **further: Any) -> dict[str, Any]:
    """Arguments of the SDK's create call for a small server."""
    image, flavor = client.image.find_image("base"), client.compute.find_flavor("m1.tiny")
    network = client.network.find_network("private")
    assert image
    assert flavor
    assert network
    return {
        "name": name,
        "image_id": image.id,
        "flavor_id": flavor.id,
        "networks": [{"uuid": network.id}],
        **further,
    }


def active(client: Connection, server_id: str) -> Any:
    """The server when it is built, or has failed."""
    eventually(lambda: client.compute.get_server(server_id).status != "BUILD")
    return client.compute.get_server(server_id)


def create(client: Connection, name: str = "np1", **further: Any) -> Any:
    """A new server when it is built, or has failed."""
    return active(client, client.compute.create_server(**order(client, name, **further)).id)


def gone(client: Connection, server_id: str) -> None:
    """Wait until a server is gone."""
    eventually(lambda: client.compute.find_server(server_id) is None)
