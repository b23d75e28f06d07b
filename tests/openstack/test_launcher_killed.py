"""``kill -9`` of a launcher on a real cloud, at each step of a node's life: nothing is lost, leaked or double."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.audit import Audit
from tests.launcher_process import LauncherProcess
from tests.real_openstack import PATIENCE, Service, eventually
from tests.real_site import NAMES, RealSite, real_provider, settings, use_up
from tests.requestor import Zuul, zuul

SESSION_OF_ZUUL = 60.0
"""Seconds: the machine may be busy."""


@contextmanager
def started(site: RealSite) -> Iterator[tuple[LauncherProcess, Zuul]]:
    process = site.launcher(providers=[real_provider()], labels=NAMES, **settings())
    with process as launcher, zuul(site.place, session_timeout=SESSION_OF_ZUUL) as client:
        yield launcher, client


def machines_ordered(audit: Audit) -> set[str]:
    """Nodes in state building, by whether the cloud has answered the order of their server."""
    found = set()
    for name in audit.children("/nodepool/nodes"):
        node = audit.record(f"/nodepool/nodes/{name}")
        if node is not None and node["state"] == "building":
            found.add("answered" if node["external_id"] else "not answered")
    return found


def test_killed_before_the_cloud_was_asked(site: RealSite) -> None:
    """Nova refuses connections, so that nothing can have been ordered."""
    with started(site) as (launcher, client):
        use_up(client, [client.submit("small")])
        site.wait_empty()
        with Service("nova-api").away():
            request = client.submit("small")
            site.stays(lambda audit: "answered" not in machines_ordered(audit), 1.0)
            launcher.kill()
        launcher.start()
        use_up(client, [request])
        site.wait_empty()


def test_killed_while_the_cloud_is_being_asked(site: RealSite) -> None:
    """Nova takes the orders and answers only when nobody listens any more."""
    with started(site) as (launcher, client):
        use_up(client, [client.submit("small")])
        with Service("nova-api").frozen():
            requests = [client.submit("small"), client.submit("floating")]
            site.wait(lambda audit: len(audit.states()["node building"]) == 2, PATIENCE)
            site.stays(lambda audit: machines_ordered(audit) == {"not answered"}, 1.0)
            launcher.kill()
        eventually(lambda: len(site.by_node()) == 2)
        launcher.start()
        use_up(client, requests)
        site.wait_empty()


def test_killed_while_servers_are_built_finished_and_deleted(site: RealSite) -> None:
    with started(site) as (launcher, client):
        (used,) = client.accept(client.submit("lingers"), PATIENCE)
        client.use(used)
        requests = [client.submit(label) for label in ("slow", "slow", "floating", "floating", "small")]
        site.wait(lambda audit: "answered" in machines_ordered(audit), PATIENCE)
        client.give_back(used)
        site.wait(lambda audit: audit.states()["node deleting"], PATIENCE)
        launcher.kill()
        states = site.audit.states()
        assert states["node deleting"], "it was too late: this shows nothing"
        assert states["node building"], "it was too late: this shows nothing"
        launcher.start()
        nodes = use_up(client, requests)
        assert len(set(nodes)) == len(requests)
        site.wait_empty()


def test_killed_again_and_again(site: RealSite) -> None:
    """At five moments of which the cloud decides, as it is slow: whenever another node is ready."""
    with started(site) as (launcher, client):
        requests: list[str] = []
        nodes: list[str] = []
        for label in ("small", "floating", "lingers", "slow", "small"):
            requests += [client.submit(label), client.submit("small")]
            handed_over = len(site.audit.handed_over)
            site.wait(lambda audit, least=handed_over + 1: len(audit.handed_over) >= least, PATIENCE)  # type: ignore[misc]
            launcher.kill()
            site.by_node()
            launcher.start()
            served = [request for request in requests if request in site.audit.handed_over]
            nodes += use_up(client, served)
            requests = [request for request in requests if request not in served]
        nodes += use_up(client, requests)
        assert len(set(nodes)) == len(nodes) == 10
        site.wait_empty()
