"""What a list of servers tells: which are ours, and what else uses the quota."""

from __future__ import annotations

from nodepool.driver.adapter import NODE_TAG, PROVIDER_TAG, Server, ServerState
from nodepool.launcher.clouds import Cloud, sort_servers
from nodepool.model.resources import Resources

TWO_CORES = Resources(instances=1, cores=2)


def server(
    external_id: object, provider: str | None = "p", node: str | None = "1", use: Resources | None = TWO_CORES
) -> Server:
    tags = {tag: value for tag, value in ((PROVIDER_TAG, provider), (NODE_TAG, node)) if value is not None}
    return Server(external_id, ServerState.ACTIVE, tags, resources=use)


def test_our_servers_are_found_by_node() -> None:
    cloud = Cloud()
    ours, second, other = server("x"), server("y"), server("z", node="2")
    sort_servers(cloud, "p", [ours, second, other], ["1", "2"])
    assert cloud.servers == {"1": [ours, second], "2": [other]}
    assert cloud.foreign_use == Resources()
    assert cloud.strays == {}


def test_what_does_not_bear_our_tags_is_foreign_use() -> None:
    cloud = Cloud()
    foreign = [server("x", provider="q"), server("y", provider=None), server("z", node=None)]
    sort_servers(cloud, "p", foreign, ["1"])
    assert cloud.servers == {}
    assert cloud.foreign_use == TWO_CORES * 3


def test_a_server_of_unknown_size_counts_as_one_instance() -> None:
    cloud = Cloud()
    sort_servers(cloud, "p", [server("x", provider="q", use=None)], [])
    assert cloud.foreign_use == Resources(instances=1)


def test_our_servers_without_a_node_are_strays_not_foreign() -> None:
    cloud = Cloud()
    sort_servers(cloud, "p", [server("x", node="7"), server("y", node="7"), server("z", node="1")], ["1"])
    assert cloud.strays == {"7": TWO_CORES * 2}
    assert cloud.foreign_use == Resources()
    assert set(cloud.servers) == {"1", "7"}


def test_all_are_found_by_external_id_even_if_that_is_an_object() -> None:
    cloud = Cloud()
    odd = server({"name": "x"})
    foreign = server("y", provider="q")
    sort_servers(cloud, "p", [odd, foreign], ["1"])
    assert cloud.by_external_id == {str({"name": "x"}): odd, "y": foreign}


def test_a_list_replaces_the_one_before() -> None:
    cloud = Cloud()
    sort_servers(cloud, "p", [server("x"), server("y", node="7"), server("z", provider="q")], ["1"])
    sort_servers(cloud, "p", iter([]), iter([]))
    assert (cloud.servers, cloud.by_external_id, cloud.strays) == ({}, {}, {})
    assert cloud.foreign_use == Resources()
