"""A launcher that has lost its session, and does not know it yet, changes nothing (design, promise 3)."""

from __future__ import annotations

from tests.audit import Audit
from tests.installation import Installation, session_of, sessions_of
from tests.requestor import Record, Zuul, encode, zuul
from tests.zookeeper import Proxy, eventually
from tools.zookeeper import LocalZooKeeper

SLOW = {"boot-time": 0.3, "latency": 0.15}


def is_pending(record: Record | None) -> bool:
    """Whether a launcher has taken a request and works on it."""
    return record is not None and record["state"] == "pending"


def submit_until_work_in_every_phase(site: Installation, client: Zuul) -> list[str]:
    """Submit requests one after the other; returns them."""
    requests: list[str] = []
    phases = ("request pending", "request fulfilled", "node building", "node ready")

    def all_phases(audit: Audit) -> bool:
        requests.append(client.submit("small"))
        states = audit.states()
        return all(states[phase] for phase in phases)

    site.wait(all_phases)
    return requests


def test_paused_past_its_session_it_leaves_all_to_the_other_and_then_works_on(site: Installation) -> None:
    provider = site.provider(fake=SLOW)
    with site.launcher("a", providers=[provider]) as paused, zuul(site.place) as client:
        requests = submit_until_work_in_every_phase(site, client)
        paused.pause()
        session = session_of(paused)
        with site.launcher("b", providers=[provider]) as other:
            ended = site.wait_end(session)
            assert site.audit.at_end[session]["node building"], "nothing was half done: this shows nothing"
            nodes = [node for request in requests for node in client.accept(request)]
            paused.resume()
            eventually(lambda: session_of(paused) != session)
            for node in nodes:
                client.use(node)
                client.give_back(node)
            other.stop()
            client.give_back(client.obtain("small")[0])
            assert not site.writes(session, after=ended)
        site.wait_clean()


def test_what_hangs_in_the_network_is_refused_when_the_session_is_over(
    site: Installation, server: LocalZooKeeper
) -> None:
    with Proxy(server.port) as proxy:
        provider = site.provider(fake=SLOW)
        with site.launcher("a", providers=[provider], hosts=proxy.hosts) as cut_off, zuul(site.place) as client:
            request = client.submit("small")
            client.wait(f"/nodepool/requests/{request}", is_pending)
            proxy.stall()
            session = session_of(cut_off)
            with site.launcher("b", providers=[provider]):
                nodes = [node for one in (request, client.submit("small")) for node in client.accept(one)]
                ended = site.wait_end(session)
                proxy.resume()
                eventually(lambda: session_of(cut_off) != session)
                for node in nodes:
                    client.use(node)
                    client.give_back(node)
                site.wait_clean()
                assert not site.writes(session, after=ended)


def test_a_session_that_is_ended_in_the_middle_of_a_launch(site: Installation) -> None:
    """One node, one owner, no leak: the cloud has room for one server only."""
    provider = site.provider(fake={"boot-time": 0.5, "instances": 1})
    with site.launcher(providers=[provider]) as launcher, zuul(site.place) as client:
        request = client.submit("small")
        eventually(lambda: any(node["external_id"] for node in client.all_nodes().values()))
        (first,) = client.all_nodes()
        site.expire(launcher)
        (node,) = client.accept(request)
        assert node != first
        assert len(sessions_of(launcher)) == 2
        assert site.wait_clean([node]).handed_over == {request: [node]}
        client.use(node)
        client.give_back(node)
        client.give_back(client.obtain("small")[0])
        site.wait_clean()


def test_another_program_that_took_over_is_not_disturbed(site: Installation) -> None:
    """A launcher of another kind has taken the request over and works on it, slowly."""
    with (
        site.launcher(providers=[site.provider(fake=SLOW)]) as paused,
        zuul(site.place) as client,
        zuul(site.place) as other,
    ):
        request = client.submit("small")
        path = f"/nodepool/requests/{request}"
        client.wait(path, is_pending)
        paused.pause()
        session = session_of(paused)
        site.wait_end(session)
        (node,) = client.all_nodes()
        lock = other.client.Lock(f"/nodepool/requests-lock/{request}")
        assert lock.acquire(timeout=5)
        other.lock(node)
        record = other.read(path)
        assert record is not None
        other.client.set(path, encode({**record, "state": "pending"}))
        paused.resume()
        eventually(lambda: session_of(paused) != session)
        new = session_of(paused)
        site.wait(
            lambda _: any("/components/pool/" in change.path for one in site.writes(new) for change in one.changes)
        )
        site.stays(lambda audit: new not in [*audit.writers[path], *audit.writers[f"/nodepool/nodes/{node}"]], 1.0)
        lock.release()
        other.unlock(node)
        (node,) = client.accept(request)
        client.use(node)
        client.give_back(node)
        site.wait_clean()
