"""The index of nodes: after any news it says what a look at every node would say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nodepool.launcher.index import NodeIndex
from nodepool.model.node import Node
from nodepool.model.resources import Resources
from nodepool.model.states import NodeState

PROVIDERS, POOLS, LABELS = ("p", "q"), ("main", "other"), ("a", "b")
REQUESTS, TENANTS, IDS = ("r1", "r2"), ("t1", "t2"), ("1", "2", "3", "4")
Update = tuple[str, Node | None, bool]
"""Node id, record, whether it is locked."""


def cost(node: Node) -> Resources:
    """What a node without a record of its use counts for: two cores per label."""
    return Resources(instances=1, cores=2 * len(node.type))


NODES = st.builds(
    Node,
    id=st.just(""),
    state=st.sampled_from(NodeState),
    provider=st.sampled_from([None, *PROVIDERS]),
    pool=st.sampled_from([None, *POOLS]),
    type=st.sampled_from([(), ("a",), ("b",), ("a", "b")]),
    allocated_to=st.sampled_from([None, *REQUESTS]),
    tenant_name=st.sampled_from([None, *TENANTS]),
    resources=st.sampled_from([None, {}, {"instances": 1, "ram": 512}, {"instances": 1, "gpu": 3}]),
)
UPDATES = st.lists(st.tuples(st.sampled_from(IDS), st.one_of(st.none(), NODES), st.booleans()), max_size=30)


def index_of(updates: list[Update]) -> tuple[NodeIndex, dict[str, tuple[Node, bool]]]:
    """The index after the updates, and what there is then."""
    index = NodeIndex()
    present: dict[str, tuple[Node, bool]] = {}
    for node_id, record, locked in updates:
        node = record.replace(id=node_id) if record else None
        index.update(node_id, node, locked, cost)
        present.pop(node_id, None)
        if node is not None:
            present[node_id] = (node, locked)
    return index, present


def use(nodes: list[Node]) -> Resources:
    return Resources.total(node.quota or cost(node) for node in nodes)


@given(UPDATES)
def test_sums_are_those_of_the_nodes(updates: list[Update]) -> None:
    index, present = index_of(updates)
    nodes = [node for node, _ in present.values()]
    for provider in PROVIDERS:
        of_provider = [node for node in nodes if node.provider == provider]
        assert index.used(provider) == use(of_provider)
        assert index.held(provider) == use([node for node in of_provider if node.state is NodeState.HOLD])
        for pool in POOLS:
            of_pool = [node for node in of_provider if node.pool == pool]
            assert index.used(provider, pool) == use(of_pool)
            assert index.held(provider, pool) == use([node for node in of_pool if node.state is NodeState.HOLD])
    for tenant in TENANTS:
        assert index.used_by_tenant(tenant) == use([node for node in nodes if node.tenant_name == tenant])


@given(UPDATES)
def test_free_and_idle_nodes_are_those_that_there_are(updates: list[Update]) -> None:
    index, present = index_of(updates)
    idle = [one for one in present.values() if one[0].state is NodeState.READY and not one[0].allocated_to]
    free = [node for node, locked in idle if not locked]
    for label in LABELS:
        assert index.idle(label) == sum(label in node.type for node, _ in idle)
        for provider in PROVIDERS:
            for pool in POOLS:
                expected = [node for node in free if (node.provider, node.pool) == (provider, pool)]
                found = {node.id: node for node in index.free((provider, pool), label)}
                assert found == {node.id: node for node in expected if label in node.type}
    for provider in PROVIDERS:
        of_provider = [node for node in free if node.provider == provider]
        everywhere = sorted(node.id for node in index.free_nodes(provider))
        assert everywhere == sorted(node.id for node in of_provider for _ in node.type)
        for pool in POOLS:
            ids = {node.id for node in index.free_nodes(provider, pool)}
            assert ids == {node.id for node in of_provider if node.pool == pool and node.type}


@given(UPDATES)
def test_nodes_are_found_by_request_and_provider_and_the_other_way(updates: list[Update]) -> None:
    index, present = index_of(updates)
    for request in REQUESTS:
        assert set(index.of_request(request)) == {n.id for n, _ in present.values() if n.allocated_to == request}
    for provider in PROVIDERS:
        assert set(index.of_provider(provider)) == {n.id for n, _ in present.values() if n.provider == provider}
    for node_id in IDS:
        node = present[node_id][0] if node_id in present else None
        assert index.provider_of(node_id) == (node.provider if node else None)
        assert index.request_of(node_id) == (node.allocated_to if node else None)


@given(UPDATES)
def test_nothing_is_left_when_all_nodes_are_gone(updates: list[Update]) -> None:
    index, _ = index_of([*updates, *((node_id, None, False) for node_id in IDS)])
    assert all(index.used(provider) == index.held(provider) == Resources() for provider in PROVIDERS)
    assert all(index.idle(label) == 0 for label in LABELS)
    assert not any(list(index.free_nodes(provider)) for provider in PROVIDERS)


def test_a_held_node_without_a_pool_counts_once() -> None:
    index = NodeIndex()
    index.update("1", Node(id="1", state=NodeState.HOLD, provider="p", type=("a",)), False, cost)
    assert index.held("p") == Resources(instances=1, cores=2)


def test_a_cost_that_changes_later_is_taken_out_as_it_was_put_in() -> None:
    index = NodeIndex()
    node = Node(id="1", state=NodeState.BUILDING, provider="p", pool="main", type=("a",))
    index.update("1", node, True, lambda _: Resources(cores=8))
    index.update("1", None, False, lambda _: Resources(cores=1))
    assert index.used("p") == Resources()
