"""``kill -9`` of a launcher at any moment loses no request, leaks no server and gives no node to two (promise 2)."""

from __future__ import annotations

import time

from tests.audit import Audit
from tests.installation import SESSION, Installation, session_of
from tests.requestor import Zuul, encode, zuul
from tests.zookeeper import PATIENCE

TAKEOVER = 3.0
"""Seconds after the end of a session until all that it left half done is done."""


def use_up(client: Zuul, request: str) -> str:
    """Accept a request for one node, use the node and give it back; returns the node."""
    (node,) = client.accept(request)
    client.use(node)
    client.give_back(node)
    return node


def phases(audit: Audit) -> set[str]:
    """What there is, told apart as finely as a restart has to."""
    found = {state for state, names in audit.states().items() if names}
    for name in audit.children("/nodepool/nodes"):
        node = audit.record(f"/nodepool/nodes/{name}")
        if node is not None and node["state"] == "building":
            found.add("node with a server" if node["external_id"] else "node without a server")
        if node is not None and node["state"] == "ready" and node["allocated_to"]:
            request = audit.record(f"/nodepool/requests/{node['allocated_to']}")
            if request is not None and request["state"] == "pending":
                found.add("ready node of an unfinished request")
    return found


EVERY_PHASE = {
    "request pending",
    "request fulfilled",
    "node with a server",
    "node without a server",
    "ready node of an unfinished request",
    "node deleting",
}


def leave_ready_node(site: Installation, client: Zuul, label: str) -> None:
    """Have a node made that nobody wants any more."""
    request = client.submit(label)
    (node,) = client.fulfilled(request)
    client.delete_request(request)
    site.wait(lambda audit: (audit.record(f"/nodepool/nodes/{node}") or {})["allocated_to"] is None)


def test_killed_with_work_in_every_phase_and_restarted(site: Installation) -> None:
    provider = site.provider(labels=["small", "idle"], fake={"boot-time": 0.8, "latency": 0.2})
    with site.launcher(providers=[provider], labels=["small", "idle"]) as launcher, zuul(site.place) as client:
        leave_ready_node(site, client, "idle")
        fulfilled = client.submit("small")
        client.fulfilled(fulfilled)
        (used,) = client.obtain("small")
        client.use(used)
        requests = [client.submit("idle", "small")]
        site.wait(lambda audit: "node with a server" in phases(audit))
        client.give_back(used)
        site.wait(lambda audit: audit.states()["node deleting"])
        requests += [client.submit("small"), client.submit("small")]
        site.wait(lambda audit: phases(audit) >= EVERY_PHASE)
        launcher.kill()
        killed = time.monotonic()
        assert phases(site.audit) >= EVERY_PHASE, "it was too late: this shows nothing"
        launcher.start()
        started = time.monotonic()
        for request in (fulfilled, *requests):
            client.accept(request)
        done = time.monotonic()
        print(f"\nkilled in every phase: back after {started - killed:.2f} s, all served after {done - killed:.2f} s")
        assert done - killed < SESSION + TAKEOVER
        for node in client.nodes:
            if node != used:
                client.use(node)
                client.give_back(node)
        audit = site.wait(lambda audit: {state for state, names in audit.states().items() if names} <= {"node ready"})
        site.wait_clean(audit.states()["node ready"])


def test_killed_again_and_again(site: Installation) -> None:
    """Killed at five arbitrary moments, while requests come and go."""
    launcher = site.launcher(
        providers=[site.provider(fake={"boot-time": 0.15, "latency": 0.02})], zookeeper_timeout=1.0
    )
    with launcher, zuul(site.place) as client:
        open_requests: list[str] = []
        for round_number in range(5):
            open_requests += [client.submit("small") for _ in range(8)]
            handed_over = len(site.audit.handed_over)
            site.wait(lambda audit, least=handed_over + 2: len(audit.handed_over) >= least)  # type: ignore[misc]
            served = [request for request in open_requests if request in site.audit.handed_over]
            open_requests = [request for request in open_requests if request not in served]
            for request in served:
                use_up(client, request)
            site.stays(lambda _: True, 0.03 * round_number)
            launcher.kill()
            launcher.start()
        for request in open_requests:
            use_up(client, request)
        audit = site.wait_clean()
        assert len(audit.handed_over) == 40
        nodes = [node for nodes in audit.handed_over.values() for node in nodes]
        assert len(set(nodes)) == len(nodes)


def pending_of(audit: Audit, session: int) -> list[str]:
    """Requests on which a session works."""
    return [
        name for name in audit.states()["request pending"] if session in audit.writers[f"/nodepool/requests/{name}"]
    ]


def submit_until(site: Installation, client: Zuul, sessions: list[int], least: int) -> list[str]:
    """Submit requests, of which each session then works on at least so many at once; returns them.

    Who gets how many is chance: a batch of which one got too few is used up before the next.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        requests = [client.submit("small") for _ in range(4 * least)]
        site.wait(lambda audit: not audit.states()["request requested"])
        if all(len(pending_of(site.audit, session)) >= least for session in sessions):
            return requests
        assert time.monotonic() < deadline, "one of them gets hardly any"
        for request in requests:
            use_up(client, request)


def test_another_launcher_takes_over(site: Installation) -> None:
    provider = site.provider(fake={"boot-time": 0.5, "latency": 0.05})
    with (
        site.launcher("a", providers=[provider]) as killed,
        site.launcher("b", providers=[provider]) as other,
        zuul(site.place) as client,
    ):
        (used,) = client.obtain("small")
        client.use(used)
        session = session_of(killed)
        requests = submit_until(site, client, [session, session_of(other)], least=5)
        killed.kill()
        moment = time.monotonic()
        client.give_back(used)
        left = pending_of(site.audit, session)
        assert left, "the killed one had nothing to do: this shows nothing"
        client.wait_node_gone(used)
        gone = time.monotonic() - moment
        for request in requests:
            use_up(client, request)
        served = time.monotonic() - moment
        site.wait_clean()
        clean = time.monotonic() - moment
        print(
            f"\nlauncher killed (session {SESSION} s): its node removed after {gone:.2f} s, "
            f"its {len(left)} requests served after {served:.2f} s, nothing left after {clean:.2f} s"
        )
        assert clean < SESSION + TAKEOVER


def test_what_a_dead_launcher_of_any_kind_leaves_behind(site: Installation) -> None:
    """Records as they stand between any two writes, and znodes that others' locks leave over (spec zookeeper 6.4)."""
    with site.launcher() as launcher, zuul(site.place) as client:
        launcher.stop()
        taken = client.submit("small", state="pending")
        half_built = client.submit("small", state="pending")
        served = client.submit("small", state="pending")
        gone = "200-0000099999"
        for state, owner in (("init", taken), ("building", half_built), ("ready", served), ("ready", gone)):
            leave_node(client, state=state, allocated_to=owner)
        for state in ("building", "used", "in-use", "failed", "aborted", "deleting", "deleted"):
            leave_node(client, state=state, allocated_to=gone)
        client.client.ensure_path("/nodepool/nodes/0000000099/lock")
        for request in (half_built, gone):
            client.client.ensure_path(f"/nodepool/requests-lock/{request}")
        launcher.start()
        for request in (taken, half_built, served):
            use_up(client, request)
        audit = site.wait(lambda audit: {state for state, names in audit.states().items() if names} <= {"node ready"})
        site.wait(lambda audit: audit.left() == _paths(audit.states()["node ready"]))
        assert all(not node["allocated_to"] for node in client.all_nodes().values())
        assert len(audit.states()["node ready"]) <= 2


def leave_node(client: Zuul, **values: object) -> None:
    """Write a node of the shared cloud, which has no server."""
    now = time.time()
    record = {"provider": "cloud", "pool": "main", "type": ["small"], "state_time": now, "created_time": now, **values}
    path = client.client.create("/nodepool/nodes/", encode(record), sequence=True)
    if values["state"] != "init":
        client.client.create(f"{path}/lock")


def _paths(nodes: list[str]) -> list[str]:
    return [f"/nodepool/nodes/{node}{rest}" for node in nodes for rest in ("", "/lock")]
