"""The audit of integration tests sees what it is there for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.audit import Audit
from tests.journal import Change, Kind, Transaction

LAUNCHER, OTHER, CLIENT = 1, 2, 3
REQUEST = "/nodepool/requests/200-0000000001"
NODE = "/nodepool/nodes/0000000001"
NODE_LOCK = f"{NODE}/lock"
REQUEST_LOCK = "/nodepool/requests-lock/200-0000000001"


def create(path: str, **record: Any) -> Change:
    """A persistent znode."""
    return Change(Kind.CREATE, f"/root{path}", json.dumps(record).encode() if record else b"")


def hold(directory: str) -> Change:
    """A contender."""
    return Change(Kind.CREATE, f"/root{directory}/0__lock__0000000000", ephemeral=True)


def write(path: str, **record: Any) -> Change:
    """A change of a record."""
    return Change(Kind.SET, f"/root{path}", json.dumps(record).encode())


def request(state: str = "requested", nodes: Sequence[str] = ()) -> dict[str, Any]:
    """A request for one node."""
    return {"state": state, "node_types": ["small"], "nodes": list(nodes), "requestor": "zuul"}


def node(state: str = "ready", owner: str | None = None, **more: Any) -> dict[str, Any]:
    """A node."""
    return {"state": state, "type": ["small"], "allocated_to": owner, **more}


def complaints(*steps: tuple[int, Sequence[Change]]) -> str:
    """What the audit says after two launchers have registered and then these transactions were done."""
    begin = [(one, [create(f"/nodepool/components/launcher/{one}")]) for one in (LAUNCHER, OTHER)]
    journal = [
        Transaction(session, number, 0.0, tuple(changes)) for number, (session, changes) in enumerate([*begin, *steps])
    ]
    return "\n".join(Audit("/root").play(journal).complaints)


def test_a_clean_life_of_a_request() -> None:
    owner = "200-0000000001"
    steps: list[tuple[int, Sequence[Change]]] = [
        (CLIENT, [create(REQUEST, **request())]),
        (
            LAUNCHER,
            [
                create(REQUEST_LOCK),
                hold(REQUEST_LOCK),
                write(REQUEST, **request("pending")),
                create(NODE, **node("init", owner)),
            ],
        ),
        (LAUNCHER, [create(NODE_LOCK), hold(NODE_LOCK), write(NODE, **node("building", owner))]),
        (LAUNCHER, [write(NODE, **node("ready", owner)), write(REQUEST, **request("fulfilled", ["0000000001"]))]),
        (CLIENT, [Change(Kind.DELETE, f"/root{REQUEST}")]),
        (LAUNCHER, [write(NODE, **node("ready"))]),
    ]
    assert complaints(*steps) == ""


def test_writing_without_a_lock_and_under_the_lock_of_another() -> None:
    made = (CLIENT, [create(NODE, **node()), create(NODE_LOCK)])
    assert "without its lock" in complaints(made, (LAUNCHER, [write(NODE, **node("deleting"))]))
    held = (OTHER, [hold(NODE_LOCK)])
    assert "while session 0x2 holds" in complaints(made, held, (LAUNCHER, [write(NODE, **node("deleting"))]))
    assert "while session 0x2 holds" in complaints(made, held, (LAUNCHER, [Change(Kind.DELETE, f"/root{NODE}")]))


def test_a_lock_ends_with_its_session() -> None:
    made = (CLIENT, [create(NODE, **node()), create(NODE_LOCK)])
    over = (OTHER, [Change(Kind.CLOSE_SESSION)])
    taken = [Change(Kind.DELETE, f"/root{NODE_LOCK}"), create(NODE_LOCK), write(NODE, **node("deleting"))]
    assert complaints(made, (OTHER, [hold(NODE_LOCK)]), over, (LAUNCHER, taken)) == ""


def test_a_node_taken_from_a_request_that_has_it() -> None:
    owner = "200-0000000001"
    made = (CLIENT, [create(REQUEST, **request("fulfilled", ["0000000001"])), create(NODE, **node("ready", owner))])
    assert "is taken from" in complaints(made, (LAUNCHER, [hold(NODE_LOCK), write(NODE, **node())]))
    other = (LAUNCHER, [hold(NODE_LOCK), write(NODE, **node("ready", "200-0000000002"))])
    assert "changes hands" in complaints(made, other)


def test_a_request_served_twice_or_with_the_wrong_nodes() -> None:
    made = (CLIENT, [create(REQUEST, **request()), create(NODE, **node("building"))])
    wrong = (LAUNCHER, [create(REQUEST_LOCK), write(REQUEST, **request("fulfilled", ["0000000001"]))])
    assert "is fulfilled with node 0000000001" in complaints(made, wrong)
    nothing = (LAUNCHER, [create(REQUEST_LOCK), write(REQUEST, **request("fulfilled"))])
    assert "is fulfilled with 0 nodes" in complaints(made, nothing)
    again = [(LAUNCHER, [hold(REQUEST_LOCK), write(REQUEST, **request(state))]) for state in ("requested", "fulfilled")]
    assert "second time" in complaints(made, nothing, *again)


def test_a_state_that_may_not_follow() -> None:
    made = (CLIENT, [create(NODE, **node("deleting"))])
    assert "from deleting to ready" in complaints(made, (LAUNCHER, [create(NODE_LOCK), write(NODE, **node("ready"))]))


def test_a_slot_with_two_records() -> None:
    seat: dict[str, Any] = {"provider": "static", "hostname": "h", "username": "u", "connection_port": 22, "slot": 0}
    first = (LAUNCHER, [create(NODE, **node("in-use", **seat))])
    second = "/nodepool/nodes/0000000002"
    assert "has the nodes" in complaints(first, (OTHER, [create(second, **node("ready", **seat))]))
    assert "has the nodes" not in complaints(first, (OTHER, [create(second, **node("deleting", **seat))]))
