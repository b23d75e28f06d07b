"""Existing hosts with a real launcher: registered, handed out, come back, change, die and return (spec drivers 3)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.audit import Audit
from tests.installation import Installation
from tests.launcher_process import LauncherProcess
from tests.requestor import Record, Zuul, zuul
from tests.sshd import Sshd, free_port

QUICK = ["ed25519"]
LABELS = ["metal", "small", "windows", "other"]


@pytest.fixture
def host() -> Iterator[Sshd]:
    """A host of its own."""
    with Sshd(key_types=QUICK) as host:
        yield host


@pytest.fixture
def client(site: Installation) -> Iterator[Zuul]:
    """Zuul."""
    with zuul(site.place) as client:
        yield client


def entry(host: Sshd | int, *labels: str, **keys: Any) -> dict[str, Any]:
    """An entry of ``nodes``: a host, or a port of this machine."""
    address, port = ("127.0.0.1", host) if isinstance(host, int) else (host.address, host.port)
    named = {name.replace("_", "-"): value for name, value in keys.items()}
    return {"name": address, "connection-port": port, "labels": list(labels or ["metal"]), "timeout": 2, **named}


def static(*entries: dict[str, Any]) -> list[dict[str, Any]]:
    """The one provider, with these hosts."""
    return [{"name": "static", "driver": "static", "pools": [{"name": "main", "nodes": list(entries)}]}]


@contextmanager
def running(site: Installation, *entries: dict[str, Any]) -> Iterator[LauncherProcess]:
    """A launcher with these hosts."""
    with site.launcher(providers=static(*entries), labels=LABELS) as launcher:
        yield launcher


def change(launcher: LauncherProcess, *entries: dict[str, Any]) -> None:
    """Give a running launcher other hosts."""
    launcher.configure(providers=static(*entries), labels=LABELS, zookeeper_timeout=3.0)


def wait_free(site: Installation, count: int) -> list[Record]:
    """Wait until there are exactly so many nodes and all of them free; returns their records."""

    def free(audit: Audit) -> bool:
        records = nodes(audit)
        return len(records) == count and all(n["state"] == "ready" and not n["allocated_to"] for n in records)

    return nodes(site.wait(free))


def nodes(audit: Audit) -> list[Record]:
    """Records of all nodes, in the order of their ids."""
    found = (audit.record(f"/nodepool/nodes/{name}") for name in audit.children("/nodepool/nodes"))
    return [record for record in found if record is not None]


def ports(audit: Audit, label: str) -> list[int]:
    """Ports of the hosts that are registered for a label."""
    return [node["connection_port"] for node in nodes(audit) if label in node["type"]]


def users(audit: Audit) -> set[str]:
    """Users of the hosts that are registered for the label metal."""
    return {node["username"] for node in nodes(audit) if "metal" in node["type"]}


def with_other_keys(host: Sshd) -> Sshd:
    """Another machine at the same address."""
    host.kill()
    return Sshd(host.address, host.port, key_types=QUICK)


def test_a_record_says_all_that_a_client_needs(site: Installation) -> None:
    keys = {"username": "jenkins", "python_path": "/usr/bin/python3"}
    with Sshd(key_types=["ed25519", "ecdsa", "rsa"]) as host, running(site, entry(host, "metal", "small", **keys)):
        (node,) = wait_free(site, 1)
        assert sorted(node["host_keys"]) == sorted(host.host_keys)
        expected = {
            "provider": "static",
            "pool": "main",
            "type": ["metal", "small"],
            "launcher": "static driver",
            "external_id": host.address,
            "hostname": host.address,
            "interface_ip": host.address,
            "public_ipv4": host.address,
            "connection_port": host.port,
            "connection_type": "ssh",
            "username": "jenkins",
            "python_path": "/usr/bin/python3",
            "slot": 0,
            "resources": None,
        }
        assert {key: node[key] for key in expected} == expected


def test_slots_are_served_used_and_registered_anew(site: Installation, client: Zuul, host: Sshd) -> None:
    with running(site, entry(host, max_parallel_jobs=3)):
        before = wait_free(site, 3)
        assert [node["slot"] for node in before] == [0, 1, 2]
        names = site.audit.children("/nodepool/nodes")
        both = client.obtain("metal", "metal")
        one = client.submit("metal")
        late = client.submit("metal")
        (third,) = client.accept(one)
        assert sorted([*both, third]) == names
        site.stays(lambda audit: audit.states()["request requested"] == [late], 0.3)
        client.use(third)
        client.give_back(third)
        (fourth,) = client.accept(late)
        assert fourth not in names
        assert client.nodes[fourth]["slot"] == client.nodes[third]["slot"]
        for node in (*both, fourth):
            client.use(node)
            client.give_back(node)
        site.wait(lambda audit: not set(audit.children("/nodepool/nodes")) & {*names, fourth})
        assert sorted(node["slot"] for node in wait_free(site, 3)) == [0, 1, 2]


def test_more_than_all_slots_is_declined(site: Installation, client: Zuul, host: Sshd) -> None:
    with running(site, entry(host, max_parallel_jobs=2)):
        wait_free(site, 2)
        request = client.wait_done(client.submit("metal", "metal", "metal"))
        assert request["state"] == "failed"
        assert request["declined_by"] == [pool["id"] for pool in client.pools()]
        assert len(client.obtain("metal", "metal")) == 2


def test_a_full_label_does_not_hold_up_another(site: Installation, client: Zuul, host: Sshd) -> None:
    with Sshd(key_types=QUICK) as second, running(site, entry(host, "metal"), entry(second, "small", "other")):
        wait_free(site, 2)
        client.obtain("metal")
        waiting = client.submit("metal", precedence="100")
        (node,) = client.obtain("other")
        assert client.nodes[node]["type"] == ["small", "other"]
        site.stays(lambda audit: audit.states()["request requested"] == [waiting], 0.3)


def test_labels_of_one_request_find_their_hosts(site: Installation, client: Zuul, host: Sshd) -> None:
    """The host with both labels must not be given away for the label that the other one has too."""
    with Sshd(key_types=QUICK) as second, running(site, entry(host, "metal", "small"), entry(second, "metal")):
        wait_free(site, 2)
        names = client.obtain("metal", "small")
        assert [client.nodes[name]["connection_port"] for name in names] == [second.port, host.port]


def test_expected_host_keys(site: Installation, host: Sshd) -> None:
    (key,) = host.host_keys
    with Sshd(key_types=QUICK) as other:
        (wrong,) = other.host_keys
        good, bad = entry(host, host_key=key), entry(other, host_key=[wrong, key])
        with running(site, good, bad) as launcher:
            (node,) = wait_free(site, 1)
            assert node["host_keys"] == [key]
            launcher.wait_log("The host does not have the configured host-key of type ssh-ed25519.")
            change(launcher, good, entry(other, host_key=wrong))
            wait_free(site, 2)


def test_without_host_key_checking_nobody_is_contacted(site: Installation, client: Zuul, host: Sshd) -> None:
    (key,) = host.host_keys
    dead = free_port()
    with running(site, entry(dead, host_key=key, host_key_checking=False)):
        (node,) = wait_free(site, 1)
        assert node["host_keys"] == [key]
        (name,) = client.obtain("metal")
        client.use(name)
        client.give_back(name)
        wait_free(site, 1)


def test_other_connection_types_need_an_open_port_only(site: Installation, client: Zuul) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with running(site, entry(port, "windows", connection_type="winrm")):
            (node,) = wait_free(site, 1)
            assert (node["connection_type"], node["connection_port"], node["host_keys"]) == ("winrm", port, [])
            assert len(client.obtain("windows")) == 1


def test_a_host_that_is_down_is_registered_when_it_is_up(site: Installation, client: Zuul, host: Sshd) -> None:
    host.kill()
    with running(site, entry(host)) as launcher:
        launcher.wait_log("is not registered: The host refuses connections to the port.")
        request = client.submit("metal")
        site.stays(lambda audit: audit.states()["request requested"] == [request], 0.3)
        host.start()
        assert len(client.accept(request)) == 1
        assert f"Host {host.address} port {host.port} can be registered again" in launcher.log


def test_a_host_that_died_is_not_handed_out(site: Installation, client: Zuul, host: Sshd) -> None:
    with running(site, entry(host)):
        wait_free(site, 1)
        (first,) = client.all_nodes()
        host.kill()
        request = client.submit("metal")
        client.wait_node_gone(first)
        site.stays(lambda audit: audit.states()["request requested"] == [request] and not nodes(audit), 0.3)
        host.start()
        (second,) = client.accept(request)
        assert second != first


def test_a_host_that_died_does_not_hold_up_the_others(site: Installation, client: Zuul, host: Sshd) -> None:
    with Sshd(key_types=QUICK) as second, running(site, entry(host), entry(second)):
        wait_free(site, 2)
        host.kill()
        for _ in range(3):
            (node,) = client.obtain("metal")
            assert client.nodes[node]["connection_port"] == second.port
            client.use(node)
            client.give_back(node)


def test_new_host_keys_are_found_after_use(site: Installation, client: Zuul, host: Sshd) -> None:
    with running(site, entry(host)):
        (before,) = wait_free(site, 1)
        (node,) = client.obtain("metal")
        client.use(node)
        with with_other_keys(host) as reinstalled:
            client.give_back(node)
            client.wait_node_gone(node)
            (after,) = wait_free(site, 1)
            assert set(before["host_keys"]) == host.host_keys
            assert set(after["host_keys"]) == reinstalled.host_keys


def test_a_host_that_was_replaced_is_no_longer_registered(site: Installation, client: Zuul, host: Sshd) -> None:
    """Its key is expected, and another one comes: nobody may be sent there."""
    (key,) = host.host_keys
    with running(site, entry(host, host_key=key)) as launcher:
        wait_free(site, 1)
        (node,) = client.obtain("metal")
        client.use(node)
        with with_other_keys(host):
            client.give_back(node)
            launcher.wait_log("The host does not have the configured host-key of type ssh-ed25519.")
            site.wait(lambda audit: not nodes(audit))


def test_changes_of_the_configuration(site: Installation, client: Zuul, host: Sshd) -> None:
    changed = entry(host, "metal", "other", max_parallel_jobs=2, username="jenkins", shell_type="sh")
    with (
        Sshd(key_types=QUICK) as second,
        Sshd(key_types=QUICK) as third,
        running(site, entry(host, max_parallel_jobs=2), entry(second, "small")) as launcher,
    ):
        wait_free(site, 3)
        (busy,) = client.obtain("metal")
        client.use(busy)
        before = client.all_nodes()
        change(launcher, changed, entry(third, "small"))
        site.wait(lambda audit: ports(audit, "small") == [third.port] and users(audit) == {"zuul", "jenkins"})
        ((name, free),) = ((name, node) for name, node in client.all_nodes().items() if node["username"] == "jenkins")
        assert name in before, "a free record is changed in place"
        assert (free["type"], free["shell_type"]) == (["metal", "other"], "sh")
        assert client.node(busy) == client.nodes[busy]
        client.give_back(busy)
        site.wait(lambda audit: len(nodes(audit)) == 3 and users(audit) == {"jenkins"})
        change(launcher, {**changed, "max-parallel-jobs": 1})
        (left,) = wait_free(site, 1)
        assert left["slot"] == 0
        change(launcher, {**changed, "max-parallel-jobs": 3}, entry(second, "small"))
        wait_free(site, 4)


def test_a_host_that_is_removed_while_it_works(site: Installation, client: Zuul, host: Sshd) -> None:
    with Sshd(key_types=QUICK) as second, running(site, entry(host), entry(second, "small")) as launcher:
        wait_free(site, 2)
        (busy,) = client.obtain("metal")
        client.use(busy)
        change(launcher, entry(second, "small"))
        launcher.wait_log("Configuration taken over")
        site.stays(lambda audit: busy in audit.states()["node in-use"], 0.5)
        client.give_back(busy)
        client.wait_node_gone(busy)
        (left,) = wait_free(site, 1)
        assert left["connection_port"] == second.port


def test_a_changed_port_and_type_of_a_free_host(site: Installation, host: Sshd) -> None:
    with Sshd(key_types=QUICK) as second, running(site, entry(host)) as launcher:
        wait_free(site, 1)
        change(launcher, entry(second))
        site.wait(lambda audit: ports(audit, "metal") == [second.port])
        (node,) = wait_free(site, 1)
        assert set(node["host_keys"]) == second.host_keys
