"""Whatever happens to static hosts and records: never two live records for a slot, and full stock in the end."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from nodepool.driver.static.config import Identity, StaticHost
from nodepool.driver.static.seats import Seats
from nodepool.driver.stock import StockNode
from nodepool.model.states import NodeState, may_follow
from tests.unit.driver.static_world import KEY, OTHER_KEY, StaticWorld

LIVE = {NodeState.READY, NodeState.IN_USE, NodeState.USED, NodeState.HOLD}
NEXT = (NodeState.IN_USE, NodeState.USED, NodeState.HOLD, NodeState.DELETING, NodeState.DELETED)
NAMES = ("h1", "h2")
STEPS = 150
WEIGHTS = {"act": 12, "record": 8, "time": 2, "lock": 2, "host": 1, "reload": 1, "die": 1}


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**9))
def test_no_slot_is_ever_live_twice_and_in_the_end_all_are_registered(seed: int) -> None:
    chance = Random(seed)
    world = StaticWorld(_hosts(chance))
    for _ in range(STEPS):
        _step(world, chance)
        _check_slots(world)
    _come_to_rest(world)
    _check_stock(world)


def _step(world: StaticWorld, chance: Random) -> None:
    (event,) = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
    ids = sorted(world.nodes)
    if event == "act":
        if actions := world.plan().actions:
            world.do(chance.choice(actions))
    elif event == "record" and ids:
        _change(world, chance.choice(ids), chance.choice(NEXT))
    elif event == "time":
        world.now += chance.choice((0.5, 20.0, 61.0))
    elif event == "lock" and ids:
        world.locked ^= {chance.choice(ids)}
    elif event == "host":
        world.keys[chance.choice(NAMES)] = chance.choice((None, (KEY,), (OTHER_KEY,), (KEY, OTHER_KEY)))
    elif event == "reload":
        world.reload(_hosts(chance))
    elif event == "die":
        world.plan()
        world.reload(world.hosts)


def _hosts(chance: Random) -> list[StaticHost]:
    hosts: dict[Identity, StaticHost] = {}
    for _ in range(chance.randrange(4)):
        host = StaticHost(
            name=chance.choice(NAMES),
            labels=chance.choice((("a",), ("a", "b"))),
            pool=chance.choice(("main", "other")),
            username=chance.choice(("zuul", "ci")),
            port=chance.choice((22, 2222)),
            host_keys=chance.choice(((), (KEY,))),
            checked=chance.random() < 0.8,
            slots=chance.randrange(4),
        )
        hosts[host.identity] = host
    return list(hosts.values())


def _change(world: StaticWorld, node_id: str, state: NodeState) -> None:
    node = world.nodes[node_id]
    if node.state is NodeState.DELETED:
        del world.nodes[node_id]
    elif may_follow(node.state, state):
        world.put(node_id, state, allocated_to="1-1")


def _check_slots(world: StaticWorld) -> None:
    live = [node for node in world.nodes.values() if node.state in LIVE]
    slots = Counter((node.hostname, node.username, node.connection_port, node.slot) for node in live)
    assert not [slot for slot, count in slots.items() if count > 1]


def _come_to_rest(world: StaticWorld) -> None:
    """Hosts answer again, locks go, jobs end, and a minute passes."""
    world.keys = dict.fromkeys(NAMES, (KEY, OTHER_KEY))
    world.locked = set()
    world.settle()
    world.nodes = {
        node_id: node
        for node_id, node in world.nodes.items()
        if node.state is NodeState.READY and not node.allocated_to
    }
    world.now += 61
    world.settle()


def _check_stock(world: StaticWorld) -> None:
    seating = Seats(world.hosts).seat(StockNode(node, False) for node in world.nodes.values())
    assert set(seating.seats) == {(host.identity, number) for host in world.hosts for number in range(host.slots)}
    assert seating.surplus == ()
    hosts = {host.identity: host for host in world.hosts}
    for (identity, number), entry in seating.seats.items():
        node, host = entry.node, hosts[identity]
        assert (node.hostname, node.username, node.connection_port, node.slot) == (*identity, number)
        assert (node.type, node.pool) == (host.labels, host.pool)
        assert set(node.host_keys) >= set(host.host_keys)
