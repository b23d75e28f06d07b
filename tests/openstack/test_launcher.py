"""One real launcher on a real cloud, from its start to its end: whole lives of nodes, and everything that goes wrong.

Before it starts, things are left in the cloud; the last test sees that it has removed them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nodepool.driver.adapter import NODE_TAG, PROVIDER_TAG
from nodepool.driver.image_adapter import ImageOrder
from nodepool.driver.openstack.leftovers import describe
from tests.launcher_process import LauncherProcess
from tests.openstack_bench import DEADLINE
from tests.real_openstack import PATIENCE, RealCloud, Service, bench, eventually, provider
from tests.real_site import NAMES, RealSite, credentials, real_provider, settings, use_up
from tests.requestor import REQUESTS, Zuul, encode, zuul
from tools.zookeeper import LocalZooKeeper

MANY = 60
LEAK_PATIENCE = 240.0
"""Seconds: leaks are looked for each minute, and removed when they were seen twice."""
GHOST = "0000099999"


@dataclass(frozen=True)
class Leaks:
    """What somebody left in the cloud: ids."""

    server: str
    port: str
    floating_address: str
    image: str
    strangers_server: str

    def left(self, cloud: RealCloud) -> list[str]:
        """Those of ours that are still there."""
        there = {*cloud.servers(), *(port.id for port in cloud.server_ports())}
        there |= {address.id for address in cloud.floating_addresses()} | {image.id for image in cloud.uploads()}
        return [one for one in (self.server, self.port, self.floating_address, self.image) if one in there]


@pytest.fixture(scope="module")
def leaks(real_cloud: RealCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leaks]:
    """A server, a port, a floating address and an image of ours that nobody knows; and a server of somebody else."""
    network = real_cloud.user.network
    path = tmp_path_factory.mktemp("image") / "image.raw"
    path.write_bytes(os.urandom(1 << 16))
    with bench(provider()) as made:
        servers = [made.create(GHOST, az="az1"), made.create("0000099998", az="az1")]
        image = made.adapter.images.upload(ImageOrder("deb-1", str(path), "raw", "build0", "0000000007"), DEADLINE)
        for one in servers:
            made.active(one)
    metadata = {PROVIDER_TAG: "another", NODE_TAG: GHOST}
    real_cloud.user.compute.set_server_metadata(servers[1], **metadata)
    port = network.create_port(network_id=real_cloud.network_id("private"), device_owner="compute:az1")
    address = network.create_ip(
        floating_network_id=real_cloud.network_id("public"), description=describe("prov", "0000099997")
    )
    yield Leaks(servers[0], port.id, address.id, image, servers[1])
    real_cloud.clean()


@pytest.fixture(scope="module")
def place(server: LocalZooKeeper, real_cloud: RealCloud, tmp_path_factory: pytest.TempPathFactory) -> RealSite:
    return RealSite(server, tmp_path_factory.mktemp("site"), real_cloud)


@pytest.fixture(scope="module")
def launcher(place: RealSite, leaks: Leaks) -> Iterator[LauncherProcess]:
    del leaks
    process = LauncherProcess(
        place.directory / "launcher",
        place.place,
        providers=[real_provider()],
        labels=NAMES,
        debug=True,
        environment=credentials(),
        **settings(),
    )
    with process:
        yield process


@pytest.fixture
def client(launcher: LauncherProcess, place: RealSite) -> Iterator[Zuul]:
    """A Zuul. At the end nothing of what it asked for may be left."""
    with zuul(launcher.place) as component:
        yield component
        place.openstack.forget_quota()
        for name in component.names(REQUESTS):
            component.delete_request(name)
        for node_id, node in component.all_nodes().items():
            if node["state"] == "ready":
                component.store(node_id, state="used")
                component.unlock(node_id)
        place.wait(lambda audit: not any(audit.states().values()), PATIENCE)
        eventually(lambda: place.by_node().keys() <= {GHOST})


# A node's life


def test_a_node_from_request_to_reuse(client: Zuul, place: RealSite) -> None:
    (node_id,) = client.accept(client.submit("small"), PATIENCE)
    node, machine = client.node(node_id), place.by_node()[node_id]
    assert node is not None
    assert (node["state"], node["external_id"], node["cloud"]) == ("ready", machine.id, "nodepool")
    assert (node["az"], node["host_id"]) == (machine.availability_zone, machine.host_id)
    assert node["interface_ip"] == node["private_ipv4"] == machine.addresses["private"][0]["addr"]
    assert (node["public_ipv4"], node["connection_type"], machine.name) == (None, "ssh", f"np{node_id}")
    client.use(node_id)
    client.give_back(node_id)
    client.wait_node_gone(node_id, PATIENCE)
    assert machine.id not in place.openstack.servers()


def test_a_node_with_a_floating_address(client: Zuul, place: RealSite) -> None:
    (node_id,) = client.accept(client.submit("floating"), PATIENCE)
    node = client.node(node_id)
    assert node is not None
    (address,) = [one for one in place.openstack.floating_addresses() if one.port_id]
    assert node["interface_ip"] == node["public_ipv4"] == address.floating_ip_address
    assert node["private_ipv4"] == address.fixed_ip_address
    client.use(node_id)
    client.give_back(node_id)
    client.wait_node_gone(node_id, PATIENCE)
    assert address.id not in {one.id for one in place.openstack.floating_addresses()}


def test_all_nodes_of_a_request_are_in_one_zone(client: Zuul, place: RealSite) -> None:
    nodes = client.accept(client.submit("small", "small", "small"), PATIENCE)
    machines = place.by_node()
    (zone,) = {machines[node].availability_zone for node in nodes}
    assert {(client.node(node) or {})["az"] for node in nodes} == {zone}
    for node in nodes:
        client.use(node)
        client.give_back(node)


def test_a_node_of_an_uploaded_image(client: Zuul, place: RealSite, tmp_path: Path) -> None:
    path = tmp_path / "image.raw"
    path.write_bytes(os.urandom(1 << 20))
    record = "/nodepool/images/deb/builds/build1/providers/prov/images/0000000001"
    client.client.create(record, encode({"state": "uploading", "state_time": time.time()}), makepath=True)
    with bench(provider()) as builder:
        order = ImageOrder("deb-1", str(path), "raw", "build1", "0000000001", {"os_distro": "debian"})
        image_id = builder.adapter.images.upload(order, DEADLINE)
    upload = {"external_id": image_id, "external_name": "deb-1", "format": "raw", "username": "debian"}
    client.client.set(record, encode({"state": "ready", "state_time": time.time(), **upload}))
    (node_id,) = client.accept(client.submit("disk"), PATIENCE)
    node, machine = client.node(node_id), place.by_node()[node_id]
    assert node is not None
    assert (machine.image.id, machine.metadata["groups"]) == (image_id, "prov,deb,disk")
    assert node["image_id"] == record
    assert node["username"] == "debian"
    client.use(node_id)
    client.give_back(node_id)
    client.wait_node_gone(node_id, PATIENCE)


# What is slow, and what fails


def test_slow_builds_and_deletions_hold_nobody_up(client: Zuul) -> None:
    (lingering,) = client.accept(client.submit("lingers"), PATIENCE)
    slow = client.submit("slow")
    client.wait(f"{REQUESTS}/{slow}", lambda request: (request or {})["state"] == "pending", PATIENCE)
    client.use(lingering)
    client.give_back(lingering)
    client.wait_node(lingering, lambda node: node["state"] == "deleting", PATIENCE)
    client.accept(client.submit("small"), PATIENCE)
    assert (client.request(slow) or {})["state"] == "pending"
    client.accept(slow, PATIENCE)
    for node in client.nodes.keys() - {lingering}:
        client.use(node)
        client.give_back(node)
    client.wait_node_gone(lingering, PATIENCE)


@pytest.mark.parametrize("label", ["aborts", "wanders"])
def test_a_label_whose_builds_always_fail(client: Zuul, place: RealSite, label: str) -> None:
    request = client.wait_done(client.submit(label), PATIENCE)
    assert request["state"] == "failed"
    eventually(lambda: place.by_node().keys() <= {GHOST})


def test_a_build_that_fails_is_tried_again(client: Zuul, place: RealSite) -> None:
    request = client.submit("slow")
    eventually(lambda: place.by_node().keys() - {GHOST})
    ((node, first),) = ((node, one) for node, one in place.by_node().items() if node != GHOST)
    place.openstack.admin.compute.reset_server_state(first.id, "error")
    assert use_up(client, [request]) == [node]
    eventually(lambda: first.id not in place.openstack.servers())


def test_keystone_goes_away_for_a_while(client: Zuul) -> None:
    requests = [client.submit("small"), client.submit("floating")]
    with Service("keystone").away():
        requests += [client.submit("small"), client.submit("floating")]
    with Service("keystone").frozen():
        requests += [client.submit("small")]
    assert len(set(use_up(client, requests))) == 5


# Many


def test_sixty_nodes_at_once(client: Zuul, place: RealSite) -> None:
    began, load = time.monotonic(), os.getloadavg()[0]
    requests = [client.submit("small") for _ in range(MANY)]
    nodes = [node for request in requests for node in client.accept(request, 3 * PATIENCE)]
    served = time.monotonic() - began
    assert len(set(nodes)) == MANY
    machines = place.by_node()
    assert {machines[node].status for node in nodes} == {"ACTIVE"}
    assert len({machines[node].addresses["private"][0]["addr"] for node in nodes}) == MANY
    for node in nodes:
        client.use(node)
        client.give_back(node)
    place.wait(lambda audit: not any(audit.states().values()), 3 * PATIENCE)
    gone = time.monotonic() - began - served
    print(f"\n{MANY} nodes: ready after {served:.1f} s, gone {gone:.1f} s later; load {load:.1f} at the start")


def test_what_was_left_in_the_cloud_is_removed(client: Zuul, place: RealSite, leaks: Leaks) -> None:
    eventually(lambda: leaks.left(place.openstack) == [], LEAK_PATIENCE)
    assert leaks.strangers_server in place.openstack.servers()
    assert client.all_nodes() == {}


def test_a_full_quota_makes_requests_wait(client: Zuul, place: RealSite, launcher: LauncherProcess) -> None:
    """The last test, as a lower quota is believed for five minutes."""
    place.openstack.quota(instances=len(place.openstack.servers()) + 1)
    (first,) = client.accept(client.submit("small"), PATIENCE)
    others = [client.submit("small"), client.submit("small")]
    client.use(first)
    eventually(lambda: "the cloud's quota has no room" in launcher.log)
    assert {(client.request(request) or {})["state"] for request in others} <= {"requested", "pending"}
    client.give_back(first)
    for request in others:
        use_up(client, [request])
