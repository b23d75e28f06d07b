"""Which servers of a cloud nobody knows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nodepool.admin.alien_servers import ServerSearch, aliens
from nodepool.driver.adapter import NODE_TAG, PROVIDER_TAG, Server, ServerState
from nodepool.zk.mirror import Mirror
from nodepool.zk.store import Batch, Datum

CONFIGURED = ("west", "east")


def server(external_id: Any, provider: str | None = None, node_id: str = "", name: str = "") -> Server:
    tags = {PROVIDER_TAG: provider, NODE_TAG: node_id} if provider else {}
    return Server(external_id, ServerState.ACTIVE, tags, public_ipv4="203.0.113.1", name=name)


def records(nodes: Mapping[str, Mapping[str, Any] | None]) -> Mirror:
    mirror = Mirror()
    texts = {node_id: json.dumps({"state": "ready", **node}) if node else "{" for node_id, node in nodes.items()}
    entries = {f"/nodepool/nodes/{node_id}": Datum(text.encode(), 0, 1, 1, 0, 0, 0) for node_id, text in texts.items()}
    mirror.apply(Batch(1, entries, True))
    return mirror


def ids(mirror: Mirror, *servers: Server, before: Mirror | None = None) -> list[Any]:
    found = aliens(ServerSearch("west", servers), CONFIGURED, before or records({}), mirror)
    return [row["server_id"] for row in found]


def test_what_has_a_record_is_no_alien() -> None:
    mirror = records({"0000000001": {"provider": "west"}, "0000000002": {"provider": "west", "external_id": "b"}})
    assert ids(mirror, server("a", "west", "0000000001"), server("b")) == []


def test_what_bears_our_tag_and_has_no_record_is_one() -> None:
    assert ids(records({}), server("a", "west", "0000000001")) == ["a"]
    assert ids(records({"0000000001": {"provider": "east"}}), server("a", "west", "0000000001")) == ["a"]


def test_a_record_before_or_after_the_list_will_do() -> None:
    mirror = records({"0000000001": {"provider": "west"}})
    assert ids(mirror, server("a", "west", "0000000001")) == []
    assert ids(records({}), server("a", "west", "0000000001"), before=mirror) == []


def test_a_record_that_cannot_be_read_may_be_about_it() -> None:
    assert ids(records({"0000000001": None}), server("a", "west", "0000000001")) == []


def test_what_others_have_made_is_one_but_not_what_another_configured_provider_lists() -> None:
    servers = (server("a"), server("b", "east", "0000000001"), server("c", "south", "0000000001"))
    assert ids(records({}), *servers) == ["a", "c"]
    assert ids(records({"0000000001": {"provider": "south"}}), *servers) == ["a"]


def test_nodes_without_an_id_do_not_make_all_servers_known() -> None:
    assert ids(records({"0000000001": {"provider": "west", "external_id": None}}), server("a")) == ["a"]


def test_rows_by_name() -> None:
    found = ServerSearch("west", (server("b", name="web"), server({"i": 1}, "west", "0000000007", "db")))
    assert aliens(found, CONFIGURED, records({}), records({})) == [
        {
            "provider": "west",
            "name": "db",
            "server_id": {"i": 1},
            "state": "active",
            "address": "203.0.113.1",
            "node_id": "0000000007",
            "owner": "west",
        },
        {
            "provider": "west",
            "name": "web",
            "server_id": "b",
            "state": "active",
            "address": "203.0.113.1",
            "node_id": None,
            "owner": None,
        },
    ]
