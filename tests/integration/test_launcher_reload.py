"""A running launcher takes over a changed configuration, and nothing that did not change notices (spec config 13)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.launcher_process import LauncherProcess, fake_provider
from tests.launcher_program import running, servers, write
from tests.requestor import POOLS, REQUESTS, Record, Zuul, zuul
from tests.zookeeper import Place, Proxy, eventually, new_place

TAKEN_OVER = "Configuration taken over from "
NOT_TAKEN_OVER = "The configuration was not taken over; the previous one stays in force"
ROOM = {"instances": 1000, "cores": 10000}


class Site:
    """A launcher, and somebody who asks it for nodes."""

    def __init__(self, launcher: LauncherProcess, client: Zuul) -> None:
        self.launcher = launcher
        self.client = client

    def configure(self, *providers: Mapping[str, Any], labels: Sequence[Any] = ("a", "b"), **settings: Any) -> None:
        """Write a configuration and wait until it has been taken over."""
        before = self.launcher.log.count(TAKEN_OVER)
        self.launcher.configure(providers=providers, labels=labels, **settings)
        eventually(lambda: self.launcher.log.count(TAKEN_OVER) > before)

    def pools(self) -> dict[str, Record]:
        """The registered pools by ``provider/pool``, each with the name of its znode."""
        found = {}
        for name in self.client.names(POOLS):
            pool = self.client.read(f"{POOLS}/{name}")
            if pool is not None:
                found[f"{pool['provider_name']}/{pool['name']}"] = {**pool, "znode": name}
        return found

    def wait_pools(self, **labels: str) -> dict[str, Record]:
        """Wait until these are the pools, by provider, and their labels, one letter each."""
        wanted = {f"fake-{provider}/main": list(text) for provider, text in labels.items()}
        eventually(lambda: {name: pool["supported_labels"] for name, pool in self.pools().items()} == wanted)
        return self.pools()

    def ends_as(self, request_id: str, state: str) -> None:
        """A request gets a node, or fails, and is deleted."""
        assert self.client.wait_done(request_id)["state"] == state
        self.client.delete_request(request_id)

    def is_pending(self, request_id: str) -> None:
        """Wait until the launcher works on a request."""
        self.client.wait(f"{REQUESTS}/{request_id}", lambda request: (request or {})["state"] == "pending")


def provider(
    name: str, labels: str, fake: Mapping[str, Any] | None = None, pool: Mapping[str, Any] | None = None
) -> Any:
    """A provider ``fake-NAME`` with labels of one letter."""
    return fake_provider(f"fake-{name}", list(labels), fake={**ROOM, **(fake or {})}, **(pool or {}))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, zookeeper_hosts: str) -> Iterator[Site]:
    place = new_place(zookeeper_hosts)
    directory = tmp_path_factory.mktemp("reload")
    first = provider("x", "a")
    with LauncherProcess(directory, place, providers=[first], labels=["a", "b"]) as launcher, zuul(place) as client:
        yield Site(launcher, client)
        assert "Traceback" not in launcher.log
        assert launcher.stop() == 0


def test_a_label_that_a_pool_gains_and_loses(site: Site) -> None:
    before = site.wait_pools(x="a")
    site.ends_as(site.client.submit("b"), "failed")
    site.configure(provider("x", "ab"))
    after = site.wait_pools(x="ab")
    for key in ("id", "znode"):
        assert after["fake-x/main"][key] == before["fake-x/main"][key]
    site.ends_as(site.client.submit("b"), "fulfilled")
    site.configure(provider("x", "a"), labels=[{"name": "a", "min-ready": -1}])
    site.wait_pools(x="a")
    for label in ("a", "b"):
        site.ends_as(site.client.submit(label), "failed")


def test_providers_and_pools_come_and_go(site: Site) -> None:
    site.configure(provider("x", "a"))
    before = site.wait_pools(x="a")
    site.configure(provider("x", "a"), provider("y", "b"))
    with_both = site.wait_pools(x="a", y="b")
    assert with_both["fake-x/main"] == before["fake-x/main"]
    site.ends_as(site.client.submit("b"), "fulfilled")
    second_pool = provider("x", "a")
    second_pool["pools"].append({**second_pool["pools"][0], "name": "second"})
    site.configure(second_pool, provider("y", "b"))
    eventually(lambda: site.pools().keys() == {"fake-x/main", "fake-x/second", "fake-y/main"})
    assert site.pools()["fake-y/main"] == with_both["fake-y/main"]
    assert site.pools()["fake-x/main"] == with_both["fake-x/main"]
    site.configure(provider("x", "a"))
    assert site.wait_pools(x="a") == before


def test_more_servers_let_a_waiting_request_go(site: Site) -> None:
    site.configure(provider("x", "a", pool={"max-servers": 1}))
    with zuul(site.launcher.place) as executor:
        node = executor.obtain("a")[0]
        executor.use(node)
        waiting = site.client.submit("a", "a")
        site.ends_as(waiting, "failed")
        waiting = site.client.submit("a")
        site.client.stays(0.3, f"{REQUESTS}/{waiting}")
        site.configure(provider("x", "a", pool={"max-servers": 2}))
        site.ends_as(waiting, "fulfilled")
        site.configure(provider("x", "a", pool={"max-servers": 0}))
        site.ends_as(site.client.submit("a"), "failed")
        executor.give_back(node)


def test_launches_survive_a_change_of_another_provider(site: Site) -> None:
    slow = {"boot-time": 2.5}
    site.configure(provider("x", "a", slow))
    before = site.wait_pools(x="a")
    began = site.launcher.log.count("Launch attempt ")
    request = site.client.submit("a", "a", reuse=False)
    site.is_pending(request)
    site.configure(provider("x", "a", slow), provider("y", "b"))
    assert site.wait_pools(x="a", y="b")["fake-x/main"] == before["fake-x/main"]
    assert site.client.wait_done(request)["state"] == "fulfilled"
    nodes = [site.client.node(name) for name in (site.client.request(request) or {})["nodes"]]
    assert {node["launcher"] for node in nodes if node} == {before["fake-x/main"]["id"]}
    site.client.delete_request(request)
    assert site.launcher.log.count("Launch attempt ") - began == 2


def test_launches_survive_a_change_of_their_own_provider(site: Site) -> None:
    """Some of its calls are under way at that time, and some wait for one of its threads."""
    site.configure(provider("z", "a", {"latency": 0.4, "boot-time": 0.5}))
    site.wait_pools(z="a")
    requests = [site.client.submit("a", reuse=False) for _ in range(9)]
    for request in requests:
        site.is_pending(request)
    site.configure(provider("z", "a", {"latency": 0.05, "boot-time": 0.5}))
    assert "Provider fake-z has changed: new work uses a new connection" in site.launcher.log
    for request in requests:
        site.ends_as(request, "fulfilled")
    assert "Launch attempt 2/3" not in site.launcher.log


def test_a_bad_configuration_changes_nothing_and_is_explained(site: Site) -> None:
    site.configure(provider("x", "a"))
    before = site.wait_pools(x="a")
    refusals = site.launcher.log.count(NOT_TAKEN_OVER)
    site.launcher.configure(providers=[provider("x", "b", pool={"max-servers": "many"})], labels=["b"])
    eventually(lambda: site.launcher.log.count(NOT_TAKEN_OVER) == refusals + 1)
    file = site.launcher.configuration_file
    errors = [line for line in site.launcher.log.splitlines() if f" ERROR nodepool.NodePool: {file}:" in line]
    assert any("max-servers" in line for line in errors)
    site.ends_as(site.client.submit("a"), "fulfilled")
    assert site.pools() == before
    assert site.launcher.log.count(NOT_TAKEN_OVER) == refusals + 1


def test_a_configuration_without_zookeeper_is_not_taken_over(site: Site) -> None:
    refusals = site.launcher.log.count(NOT_TAKEN_OVER)
    site.launcher.configure(providers=[provider("x", "a")], labels=["a"], zookeeper_servers=[])
    eventually(lambda: site.launcher.log.count(NOT_TAKEN_OVER) == refusals + 1)
    assert "zookeeper-servers: no ZooKeeper servers are given" in site.launcher.log
    site.ends_as(site.client.submit("a"), "fulfilled")
    site.configure(provider("x", "ab"))
    site.wait_pools(x="ab")


def test_other_zookeeper_servers_are_used_without_a_new_session(tmp_path: Path, zookeeper: Place) -> None:
    port = int(zookeeper.hosts.rpartition(":")[2])
    with Proxy(port) as old, Proxy(port) as new, zuul(zookeeper) as client:
        site = LauncherProcess(tmp_path, zookeeper, providers=[provider("x", "a")], labels=["a"], hosts=old.hosts)
        with site as launcher:
            before = client.names(POOLS)
            changes = {"zookeeper_servers": servers(new.port, zookeeper.chroot), "zookeeper_timeout": 17}
            launcher.configure(providers=[provider("x", "a")], labels=["a"], **changes)
            launcher.wait_log("The change of zookeeper-timeout takes effect after a restart")
            launcher.wait_log(f"Leaving the ZooKeeper server {old.hosts}")
            launcher.wait_log(f"Connected again to ZooKeeper at {new.hosts}")
            old.refuse()
            client.fulfilled(client.submit("a"))
            assert client.names(POOLS) == before
            assert launcher.stop() == 0


def test_secrets_are_never_logged(tmp_path: Path, zookeeper: Place) -> None:
    """The secure file is read at the start and at each change of it, good or bad; with all logging on."""
    port = int(zookeeper.hosts.rpartition(":")[2])
    config = write(tmp_path / "nodepool.yaml", diskimages=[{"name": "debian", "elements": ["vm"]}])
    secure = tmp_path / "secure.yaml"

    def write_secure(**environment: object) -> None:
        image = {"name": "debian", "env-vars": environment}
        content = {"zookeeper-servers": servers(port, zookeeper.chroot), "diskimages": [image]}
        secure.write_text(yaml.safe_dump(content), encoding="utf-8")

    write_secure(PASSWORD="hunter2")
    with running(tmp_path, "-d", "-c", config, "-s", secure) as program:
        program.says("Connected to ZooKeeper")
        write_secure(PASSWORD="hunter3-longer")
        program.says(TAKEN_OVER)
        write_secure(PASSWORD=["hunter4"])
        program.says(NOT_TAKEN_OVER)
        assert program.end() == 0
        assert f"{secure}:" in program.output
        assert "hunter" not in program.output
