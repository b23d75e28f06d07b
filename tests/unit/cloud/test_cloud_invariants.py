"""Whatever clients do and whatever goes wrong: the simulated cloud's books are right."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.cloud.desk import START, Desk
from tools.cloud.faults import ServerFault
from tools.cloud.timeline import iso

QUOTA = 6
FAULTS = [
    {"fault": fault.value, "chance": 0.15, "seconds": 20}
    for fault in ServerFault
    if fault not in (ServerFault.LEAK_PORT, ServerFault.LEAK_VOLUME)
]
LEAKS = [{"fault": fault, "chance": 0.3} for fault in ("leak-port", "leak-volume")]

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("create"), st.booleans()),
        st.tuples(st.just("delete"), st.integers(0, 10)),
        st.tuples(st.just("float"), st.integers(0, 10)),
        st.tuples(st.just("wait"), st.floats(0, 12)),
    ),
    max_size=40,
)


def _disk(desk: Desk) -> dict[str, Any]:
    image = next(iter(desk.region.images.images))
    disk = {"source_type": "image", "destination_type": "volume", "uuid": image, "volume_size": "5"}
    return {"imageRef": "", "block_device_mapping_v2": [disk | {"delete_on_termination": True}]}


def _carry_out(desk: Desk, number: int, step: str, argument: Any) -> None:
    servers = list(desk.region.instances.servers)
    match step:
        case "create":
            volume = _disk(desk) if argument else {}
            desk.call("POST", "/compute/v2.1/servers", desk.order(f"np{number}", **volume))
        case "delete" if servers:
            desk.delete(servers[argument % len(servers)])
        case "float" if servers:
            ports = desk.ask("GET", f"/network/v2.0/ports?device_id={servers[argument % len(servers)]}")["ports"]
            public = desk.region.networking.network("public")
            assert public is not None
            wanted = {"floating_network_id": public.id, "port_id": ports[0]["id"] if ports else None}
            desk.call("POST", "/network/v2.0/floatingips", {"floatingip": wanted})
        case "wait":
            desk.move(argument)


def _check(desk: Desk) -> None:
    servers = desk.region.instances.servers
    alive = desk.region.instances.usage.alive
    assert alive.instances == len(servers) <= QUOTA
    assert alive.cores == sum(server.order.flavor.vcpus for server in servers.values())
    assert [server["id"] for server in desk.listed()] == list(servers)[::-1]
    floating = [entry for entry in desk.region.networking.floating_ips.values() if entry.port]
    assert all(entry.port and entry.port.id in desk.region.networking.ports for entry in floating)
    addresses = Counter(address for port in desk.region.networking.ports.values() for _, address in port.fixed)
    assert all(count == 1 for count in addresses.values())


def _delete_all(desk: Desk) -> None:
    for _ in range(4):
        for server_id in list(desk.region.instances.servers):
            desk.delete(server_id)
        desk.move(30)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(0, 1000))
def test_books_are_right_at_every_moment_and_nothing_is_left(steps: list[tuple[str, Any]], seed: int) -> None:
    desk = Desk({"quota": {"instances": QUOTA}, "faults": {"servers": FAULTS}}, seed=seed)
    for number, (step, argument) in enumerate(steps):
        _carry_out(desk, number, step, argument)
        _check(desk)
    _delete_all(desk)
    found = desk.accounting()
    assert found["servers"]["alive"] == {"instances": 0, "cores": 0, "ram": 0}
    assert (found["ports"], found["volumes"]) == (0, 0)
    assert found["servers"]["created"] == found["servers"]["gone"]
    assert desk.region.instances.usage.placed.instances == 0


@settings(max_examples=30, deadline=None)
@given(STEPS, st.integers(0, 1000))
def test_what_is_left_behind_is_all_accounted_for(steps: list[tuple[str, Any]], seed: int) -> None:
    desk = Desk({"quota": {"instances": QUOTA}, "faults": {"servers": LEAKS}}, seed=seed)
    for number, (step, argument) in enumerate(steps):
        _carry_out(desk, number, step, argument)
    _delete_all(desk)
    leftovers = desk.accounting()["leftovers"]
    for port_id in leftovers["ports"]:
        desk.delete_port(port_id)
    for volume_id in leftovers["volumes"]:
        desk.ask("DELETE", f"/volume/v3/volumes/{volume_id}")
    assert (desk.accounting()["ports"], desk.accounting()["volumes"]) == (0, 0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 9), min_size=1, max_size=12), st.floats(0, 5), st.integers(0, 100))
def test_who_follows_the_changes_sees_what_the_list_shows(pauses: list[float], lag: float, seed: int) -> None:
    """As a client has to: asking from a little before its last question, by as much as the list lags and a second."""
    desk = Desk({"list_lag": lag, "boot": [1, 9], "faults": {"servers": FAULTS}}, seed=seed)
    known: dict[str, str] = {}
    asked = START
    for number, pause in enumerate(pauses):
        desk.create(f"np{number}")
        if number % 3 == 2:
            desk.delete(next(iter(desk.region.instances.servers)))
        desk.move(pause)
        since = int(asked - lag - 1)
        asked = desk.now
        for server in desk.listed(f"?changes-since={iso(since)}"):
            known[server["id"]] = server["status"]
            if server["status"] == "DELETED":
                del known[server["id"]]
        assert known == {server["id"]: server["status"] for server in desk.listed()}
