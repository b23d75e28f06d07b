"""Two or three launchers on one ZooKeeper: they share the work, and nothing is done twice."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack

from tests.audit import Audit
from tests.installation import SESSION, Installation, session_of
from tests.launcher_process import static_provider
from tests.requestor import zuul
from tests.sshd import Sshd


def shares(audit: Audit, requests: list[str], sessions: list[int]) -> list[int]:
    """How many requests each session served; fails if two worked on one."""
    writers = [set(audit.writers[f"/nodepool/requests/{request}"]) for request in requests]
    assert all(len(who) == 1 for who in writers), "several launchers worked on one request"
    count = Counter(session for who in writers for session in who)
    return [count[session] for session in sessions]


def test_two_hundred_requests_shared_by_three(site: Installation) -> None:
    """Two launchers share a provider; the third has one of its own, which offers the same label."""
    ours, other = site.provider(fake={"boot-time": 0.1}), site.provider("other", fake={"boot-time": 0.1})
    with ExitStack() as stack:
        launchers = [site.launcher(name, providers=[ours]) for name in "ab"]
        launchers.append(site.launcher("c", providers=[other]))
        for launcher in launchers:
            stack.enter_context(launcher)
        client = stack.enter_context(zuul(site.place))
        began = time.monotonic()
        requests = [client.submit("small") for _ in range(200)]
        nodes = {request: client.accept(request, 60.0) for request in requests}
        seconds = time.monotonic() - began
        handed_over = [node for names in nodes.values() for node in names]
        assert len(set(handed_over)) == 200
        for node in handed_over:
            client.use(node)
            client.give_back(node)
        audit = site.wait_clean()
        assert audit.handed_over == nodes
        share = shares(audit, requests, [session_of(launcher) for launcher in launchers])
        print(f"\n200 requests by three launchers: {200 / seconds:.0f}/s, of which {share}")
        assert min(share) > 0


def test_static_slots_are_never_doubled_and_outlive_their_registrar(site: Installation) -> None:
    """Each change of any record is looked at by the audit: no slot has two records, ever."""
    with ExitStack() as stack:
        host = stack.enter_context(Sshd(key_types=["ed25519"]))
        provider = static_provider("static", host, ["metal"], slots=4)
        launchers = {}
        for name in "abc":
            launcher = site.launcher(name, providers=[provider], labels=["metal"])
            stack.enter_context(launcher)
            launchers[session_of(launcher)] = launcher
        client = stack.enter_context(zuul(site.place))
        site.wait(lambda audit: len(audit.states()["node ready"]) == 4)
        requests = [client.submit("metal") for _ in range(40)]
        for number in range(40):
            site.wait(lambda audit: any(request in audit.handed_over for request in requests))
            request = next(request for request in requests if request in site.audit.handed_over)
            requests.remove(request)
            (node,) = client.accept(request)
            client.use(node)
            if number == 20:
                registrar = site.audit.created_by[f"/nodepool/nodes/{node}"]
                launchers.pop(registrar).kill()
                killed = time.monotonic()
            client.give_back(node)
        site.wait(lambda audit: len(audit.states()["node ready"]) == 4 and not audit.states()["node used"])
        audit = site.audit
        assert len(audit.handed_over) == 40
        successors = {audit.created_by[f"/nodepool/nodes/{node}"] for node in audit.states()["node ready"]}
        assert successors <= launchers.keys()
        print(f"\nregistrar killed: all 40 requests served and 4 slots free after {time.monotonic() - killed:.2f} s")
        assert {node["slot"] for node in client.all_nodes().values()} == {0, 1, 2, 3}


def test_a_request_fails_only_when_all_have_declined_it(site: Installation) -> None:
    broken = site.provider("broken", fake={"faults": {"create-refused": 1.0}}, settings={"launch-retries": 1})
    with (
        site.launcher("a", providers=[broken]) as first,
        site.launcher("b", providers=[site.provider(labels=["other"])], labels=["other"]),
        zuul(site.place) as client,
    ):
        ids = {pool["id"]: pool["provider_name"] for pool in client.pools()}
        assert sorted(ids.values()) == ["broken", "cloud"]
        for label in ("small", "unknown"):
            request = client.submit(label)
            record = client.wait_done(request)
            assert record["state"] == "failed"
            assert sorted(record["declined_by"]) == sorted(ids)
            states = [
                (record["state"], len(record["declined_by"]))
                for record in site.audit.history(f"/nodepool/requests/{request}")
                if record.get("declined_by")
            ]
            assert states[-2:] == [("requested", 1), ("failed", 2)]
            client.delete_request(request)
        site.wait_clean()
        first.kill()
        site.wait_end(session_of(first))
        client.give_back(client.obtain("other")[0])
        site.wait_clean()


def test_what_one_provider_cannot_make_another_makes(site: Installation) -> None:
    """The first launcher's cloud refuses everything: it declines, and the second one serves."""
    broken = site.provider(
        "broken", fake={"faults": {"create-refused": 1.0}}, settings={"launch-retries": 1, "priority": 1}
    )
    with (
        site.launcher("a", providers=[broken]),
        site.launcher("b", providers=[site.provider()]),
        zuul(site.place) as client,
    ):
        requests = [client.submit("small") for _ in range(10)]
        for request in requests:
            client.wait_done(request)
            (node,) = client.accept(request)
            assert client.nodes[node]["provider"] == "cloud"
            client.use(node)
            client.give_back(node)
        site.wait_clean()


def test_min_ready_is_not_made_twice(site: Installation) -> None:
    labels = [{"name": "small", "min-ready": 3}]
    with ExitStack() as stack:
        for name in "ab":
            launcher = site.launcher(name, labels=labels)
            stack.enter_context(launcher)
        client = stack.enter_context(zuul(site.place))
        site.wait(lambda audit: len(audit.states()["node ready"]) >= 3 and not audit.children("/nodepool/requests"))
        site.stays(lambda audit: len(audit.children("/nodepool/nodes")) == 3, SESSION)
        assert all(node["allocated_to"] is None for node in client.all_nodes().values())
