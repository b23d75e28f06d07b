"""The simulated cloud as unpatched openstacksdk sees it: every call that a driver makes, as an ordinary user."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openstack import exceptions
from openstack.connection import Connection

from tests.simulated_cloud import SETTINGS, active, connect, create, gone, order, user
from tests.zookeeper import eventually
from tools.cloud.process import CloudProcess

pytestmark = [
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning:openstack"),
    pytest.mark.filterwarnings("ignore::openstack.warnings.LegacyAPIWarning"),
]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    """One cloud for all tests here that do not hurt it."""
    with CloudProcess(tmp_path_factory.mktemp("cloud"), SETTINGS) as process:
        yield process


@pytest.fixture
def client(simulated: CloudProcess) -> Iterator[Connection]:
    """A user who leaves nothing behind."""
    with user(simulated) as connection:
        yield connection


def test_what_a_driver_asks_for_at_its_start(client: Connection) -> None:
    assert [flavor.name for flavor in client.list_flavors(get_extra=False)] == [
        "m1.tiny", "m1.small", "m1.medium", "m1.large",
    ]  # fmt: skip
    assert client.get_flavor_by_ram(3000).name == "m1.medium"
    assert client.list_availability_zone_names() == ["az1", "az2"]
    assert [image.name for image in client.list_images()] == ["base"]
    networks = {network.name: network.is_router_external for network in client.network.networks()}
    assert networks == {"private": False, "dual": False, "public": True}
    assert [pair.name for pair in client.list_keypairs()] == ["key"]
    assert [group.name for group in client.list_security_groups()] == ["default"]


def test_quota_and_limits_of_all_services(client: Connection) -> None:
    limits = client.compute.get_limits().absolute
    assert (limits.instances, limits.total_cores, limits.total_ram) == (1000, 4000, 8_192_000)
    assert client.get_compute_limits().instances == 1000
    project = client.current_project_id
    assert project is not None
    assert client.compute.get_quota_set(project, usage=True).usage["instances"] == 0
    assert client.network.get_quota(project).ports == 5000
    assert client.network.get_quota(project, details=True).ports == {"limit": 5000, "used": 0, "reserved": 0}
    absolute = client.block_storage.get_limits().absolute
    assert (absolute.max_total_volumes, absolute.total_gigabytes_used) == (1000, 0)
    assert client.block_storage.get_quota_set(project).volumes == 1000


def test_a_server_with_all_options(simulated: CloudProcess, client: Connection) -> None:
    metadata = {"nodepool_node_id": "0000000001", "groups": "east,base,label"}
    created = client.create_server(
        "np0000000001",
        image="base",
        flavor="m1.small",
        network="private",
        availability_zone="az2",
        key_name="key",
        security_groups=["default"],
        meta=metadata,
        userdata="#!/bin/sh\n",
        config_drive=True,
        auto_ip=False,
        wait=False,
    )
    server = active(client, created.id)
    assert (server.status, server.name, server.metadata) == ("ACTIVE", "np0000000001", metadata)
    assert (server.availability_zone, server.key_name, server.has_config_drive) == ("az2", "key", "True")
    assert (server.flavor.name, server.flavor.ram, server.flavor.vcpus) == ("m1.small", 2048, 1)
    assert server.image.id == client.image.find_image("base", ignore_missing=False).id
    assert [group["name"] for group in server.security_groups] == ["default"]
    assert len(server.host_id) == 56
    shown = client.get_server_by_id(server.id)
    assert shown is not None
    assert shown.private_v4 == server.addresses["private"][0]["addr"]
    found = simulated.control.resources("east")["servers"][0]
    assert base64.b64decode(found["user_data"]) == b"#!/bin/sh\n"
    ports = list(client.network.ports(device_id=server.id))
    assert [(port.status, port.device_owner) for port in ports] == [("ACTIVE", "compute:az2")]
    assert client.delete_server(server.id, wait=False)
    gone(client, server.id)
    assert list(client.network.ports()) == []


def test_a_server_has_addresses_of_both_families(client: Connection) -> None:
    network = client.network.find_network("dual", ignore_missing=False)
    server = create(client, networks=[{"uuid": network.id}])
    assert [(entry["version"], entry["addr"][:5]) for entry in server.addresses["dual"]] == [(4, "10.21"), (6, "fd00:")]


def test_lists_of_servers_are_read_over_many_pages(client: Connection) -> None:
    wanted = order(client)
    names = {f"np{number}" for number in range(7)}
    for name in names:
        client.compute.create_server(**{**wanted, "name": name})
    assert {server.name for server in client.list_servers(bare=True)} == names
    assert {server.name for server in client.compute.servers(details=False)} == names
    assert {server.name for server in client.compute.servers(limit=2)} == names
    assert [server.name for server in client.compute.servers(name="^np3$")] == ["np3"]


def test_changes_since_shows_new_and_deleted_servers(client: Connection) -> None:
    before = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    server = create(client)
    newest = next(client.compute.servers(changes_since=before))
    assert (newest.id, newest.status) == (server.id, "ACTIVE")
    client.compute.delete_server(server)
    gone(client, server.id)
    changed = {found.id: found.status for found in client.compute.servers(changes_since=before)}
    assert changed[server.id] == "DELETED"
    assert server.id not in [found.id for found in client.compute.servers()]
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
    assert list(client.compute.servers(changes_since=later)) == []


def test_a_floating_address_is_given_used_and_cleaned_up(client: Connection) -> None:
    server = create(client)
    assert client.get_server_by_id(server.id).public_v4 == ""  # type: ignore[union-attr]
    address = client.create_floating_ip(network="public", server=server, wait=False)
    eventually(lambda: client.get_floating_ip(address.id).status == "ACTIVE")  # type: ignore[union-attr]
    shown = client.get_server_by_id(server.id)
    assert shown is not None
    assert shown.public_v4 == shown.interface_ip == address.floating_ip_address
    client.compute.delete_server(server)
    gone(client, server.id)
    assert client.get_floating_ip(address.id).status == "DOWN"  # type: ignore[union-attr]
    assert client.delete_unattached_floating_ips() == 1
    assert client.list_floating_ips() == []


def test_a_floating_address_is_deleted_with_its_server(client: Connection) -> None:
    server = create(client)
    client.create_floating_ip(network="public", server=server)
    assert client.delete_server(server.id, delete_ips=True, wait=False)
    assert client.list_floating_ips() == []


def test_an_external_network_gives_public_addresses(simulated: CloudProcess) -> None:
    with connect(simulated, region="west") as client:
        created = client.create_server("np1", image="base", flavor="m1.tiny", auto_ip=False)
        active(client, created.id)
        server = client.get_server_by_id(created.id)
        assert server is not None
        assert server.interface_ip == server.public_v4
        assert server.public_v4.startswith("203.0.113.")
        client.compute.delete_server(created.id)


def test_a_server_boots_from_a_volume_that_goes_with_it(client: Connection) -> None:
    created = client.create_server(
        "np1", image="base", flavor="m1.tiny", network="private", boot_from_volume=True, volume_size=30,
        terminate_volume=True, auto_ip=False,
    )  # fmt: skip
    server = active(client, created.id)
    attached = [volume.id for volume in server.attached_volumes]
    volumes = list(client.block_storage.volumes())
    assert [(volume.id, volume.size, volume.status) for volume in volumes] == [(attached[0], 30, "in-use")]
    assert client.block_storage.get_limits().absolute.total_gigabytes_used == 30
    client.compute.delete_server(created.id)
    gone(client, created.id)
    assert list(client.block_storage.volumes()) == []


def test_console_log_metadata_and_port(client: Connection) -> None:
    server = create(client)
    assert client.get_server_console(server.id) == "np1 login: "
    client.compute.set_server_metadata(server, a="b")
    assert client.compute.get_server(server.id).metadata == {"a": "b"}
    network = client.network.find_network("private", ignore_missing=False)
    port = client.network.create_port(network_id=network.id, name="mine")
    assert client.network.find_port("mine", ignore_missing=False).id == port.id
    other = create(client, "np2", networks=[{"port": port.id}])
    assert other.addresses["private"][0]["addr"] == port.fixed_ips[0]["ip_address"]


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A file with something like a disk image in it."""
    path = tmp_path / "image.qcow2"
    path.write_bytes(b"QFI\xfb" + os.urandom(3_000_000))
    return path


def test_an_image_is_uploaded_found_used_and_deleted(client: Connection, disk: Path) -> None:
    data = disk.read_bytes()
    meta = {"nodepool_build_id": "0000000001", "nodepool_upload_id": "0000000002"}
    sums: dict[str, Any] = {"md5": hashlib.md5(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest()}
    formats: dict[str, Any] = {"disk_format": "qcow2", "container_format": "bare"}
    image = client.create_image("base-1", filename=str(disk), meta=meta, tags=["mine"], **formats, **sums)
    assert image is not None
    found = client.get_image(image.id)
    assert found is not None
    assert (found.status, found.size, found.checksum) == ("active", len(data), sums["md5"])
    assert found.hash_value == hashlib.sha512(data).hexdigest()
    assert found.properties["nodepool_build_id"] == "0000000001"
    assert found.properties["owner_specified.openstack.sha256"] == sums["sha256"]
    assert [entry.id for entry in client.image.images(name="base-1")] == [image.id]
    assert [entry.id for entry in client.image.images(tag="mine")] == [image.id]
    assert create(client, image_id=image.id).image.id == image.id
    again = client.create_image("base-1", filename=str(disk), **formats, **sums)
    assert again is not None
    assert again.id == image.id
    assert client.delete_image(image.id)
    assert client.get_image(image.id) is None


def test_a_corrupted_upload_is_noticed(simulated: CloudProcess, client: Connection, disk: Path) -> None:
    simulated.control.add_faults(images=[{"fault": "corrupt"}])
    with pytest.raises(exceptions.SDKException, match="checksum"):
        client.create_image("bad", filename=str(disk), disk_format="qcow2", validate_checksum=True)
    assert client.get_image("bad") is None


def test_an_upload_can_be_a_stream_of_unknown_length(client: Connection) -> None:
    image = client.image.create_image("stream", disk_format="raw", container_format="bare")
    client.image.put(f"/images/{image.id}/file", data=iter([b"a" * 70000, b"b"]),
                     headers={"Content-Type": "application/octet-stream"})  # fmt: skip
    found = client.image.get_image(image.id)
    assert (found.status, found.size) == ("active", 70001)


def test_what_is_wrong_with_an_order_is_a_bad_request(client: Connection) -> None:
    with pytest.raises(exceptions.BadRequestException, match="Flavor x could not be found"):
        client.compute.create_server(**order(client, flavor_id="x"))
    with pytest.raises(exceptions.BadRequestException, match="availability zone"):
        client.compute.create_server(**order(client, availability_zone="x"))
    assert client.compute.find_server("nothing") is None
    assert client.get_image("nothing") is None
    with pytest.raises(exceptions.NotFoundException):
        client.compute.delete_server("nothing", ignore_missing=False)
