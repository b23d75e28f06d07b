"""Columns, keys, types and order of the views (spec launcher 6, cli 3 and 4)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nodepool.admin import views
from nodepool.admin.table import render
from nodepool.zk.mirror import Mirror
from nodepool.zk.store import Batch, Datum

NOW = 1718000200.0
HEX = "6d1f0c2e8a524f0b9b0e0c2f5d1e7a11"

ZUUL_NODE = {
    "state": "in-use",
    "state_time": NOW - 90_061.9,
    "cloud": "rdo",
    "provider": "rdo-1",
    "pool": "main",
    "type": ["ubuntu-jammy"],
    "allocated_to": "200-0000031337",
    "az": "nova",
    "public_ipv4": "203.0.113.9",
    "private_ipv4": "10.0.0.9",
    "public_ipv6": "2001:db8::9",
    "interface_ip": "203.0.113.9",
    "connection_port": 22,
    "ssh_port": 22,
    "launcher": "nl1.example.org-PoolWorker.rdo-1-main-5b0c",
    "external_id": "6a1f",
    "hostname": "ubuntu-1",
    "comment": "why",
    "user_data": {"zuul_system": "s", "project_name": "p"},
    "hold_job": "acme p unit refs",
    "host_keys": ["ssh-ed25519 AAAA"],
    "username": "zuul",
    "connection_type": "ssh",
    "driver_data": {"a": 1},
}
POD = {
    "state": "ready",
    "state_time": None,
    "provider": "k8s",
    "type": ["pod", "container"],
    "external_id": {"instance": "i-1"},
    "connection_port": {"token": "TOP-SECRET", "host": "https://k"},
}
JENKINS_NODE = {"state": "used", "provider": "rdo-1", "type": ["centos"], "ssh_port": 2222}
REQUEST = {
    "requestor_data": {"trace_id": 312312644215438567100414707468360678011},
    "node_types": ["ubuntu-jammy", "ubuntu-jammy"],
    "requestor": "3f9d",
    "provider": None,
    "state": "requested",
    "state_time": NOW,
    "relative_priority": 3,
    "event_id": "c0ff",
    "tenant_name": "acme",
    "declined_by": ["one", "two"],
}


def mirror_of(records: Mapping[str, Any]) -> Mirror:
    mirror = Mirror()
    data = {path: value if isinstance(value, bytes) else json.dumps(value).encode() for path, value in records.items()}
    mirror.apply(Batch(1, {path: Datum(text, 0, 1, 1, NOW, NOW, 0) for path, text in data.items()}, True))
    return mirror


def nodes() -> Mirror:
    return mirror_of(
        {
            "/nodepool/nodes/0000000012": POD,
            "/nodepool/nodes/0000000003": ZUUL_NODE,
            "/nodepool/nodes/0000000003/lock": b"",
            f"/nodepool/nodes/0000000003/lock/{HEX}__lock__0000000000": b"",
            "/nodepool/nodes/0000000007": JENKINS_NODE,
            "/nodepool/nodes/0000000007/lock": b"",
            "/nodepool/nodes/0000000009": b"",
            "/nodepool/nodes/0000000010": b"{oops",
            "/nodepool/nodes/0000000011": b"{}",
        }
    )


def test_node_table_by_id() -> None:
    assert render(views.NODE_COLUMNS, views.nodes(nodes(), NOW)) == (
        "+------------+----------+---------------+---------------------+-------------+-------------+--------+"
        "-------------+----------+\n"
        "| ID         | Provider | Label         | Server ID           | Public IPv4 | IPv6        | State  |"
        " Age         | Locked   |\n"
        "+------------+----------+---------------+---------------------+-------------+-------------+--------+"
        "-------------+----------+\n"
        "| 0000000003 | rdo-1    | ubuntu-jammy  | 6a1f                | 203.0.113.9 | 2001:db8::9 | in-use |"
        " 01:01:01:01 | locked   |\n"
        "| 0000000007 | rdo-1    | centos        |                     |             |             | used   |"
        "             | unlocked |\n"
        "| 0000000012 | k8s      | pod,container | {'instance': 'i-1'} |             |             | ready  |"
        "             | unlocked |\n"
        "+------------+----------+---------------+---------------------+-------------+-------------+--------+"
        "-------------+----------+"
    )


def test_node_detail_header() -> None:
    header = render(views.NODE_DETAIL_COLUMNS, []).splitlines()[1]
    assert header == (
        "| ID | Provider | Label | Server ID | Public IPv4 | IPv6 | State | Age | Locked | Pool | Hostname |"
        " Private IPv4 | AZ | Username | Port | Launcher | Allocated To | Hold Job | Comment | User Data |"
        " Driver Data |"
    )


def test_node_json_keys_in_order_and_types() -> None:
    row = views.nodes(nodes(), NOW)[0]
    assert list(views.chosen(views.NODE_DETAIL_COLUMNS, row).items()) == [
        ("id", "0000000003"),
        ("provider", "rdo-1"),
        ("label", ["ubuntu-jammy"]),
        ("server_id", "6a1f"),
        ("public_ipv4", "203.0.113.9"),
        ("ipv6", "2001:db8::9"),
        ("state", "in-use"),
        ("age", "01:01:01:01"),
        ("locked", "locked"),
        ("pool", "main"),
        ("hostname", "ubuntu-1"),
        ("private_ipv4", "10.0.0.9"),
        ("AZ", "nova"),
        ("username", "zuul"),
        ("connection_port", 22),
        ("launcher", "nl1.example.org-PoolWorker.rdo-1-main-5b0c"),
        ("allocated_to", "200-0000031337"),
        ("hold_job", "acme p unit refs"),
        ("comment", "why"),
        ("user_data", {"zuul_system": "s", "project_name": "p"}),
        ("driver_data", {"a": 1}),
    ]


def test_credentials_of_container_nodes_are_in_no_row() -> None:
    rows = views.nodes(nodes(), NOW)
    assert "TOP-SECRET" not in json.dumps(rows)
    assert [row["connection_port"] for row in rows] == [22, 2222, "redacted"]


def test_unreadable_records_are_problems_and_hide_nothing_else() -> None:
    records = mirror_of(
        {
            "/nodepool/nodes/0000000009": b"",
            "/nodepool/nodes/0000000010": b"{oops",
            "/nodepool/nodes/0000000011": b"{}",
            "/nodepool/requests/100-0000000001": b"[]",
            "/nodepool/requests/odd\x1bname": json.dumps(REQUEST).encode(),
        }
    )
    found = views.problems(records)
    assert found[0] == "node 0000000009: cannot be read: the znode is empty; it is left alone"
    assert found[1].startswith("node 0000000010: cannot be read: not JSON: ")
    assert found[2] == "node 0000000011: cannot be read: the key 'state' is missing; it is left alone"
    assert found[3].startswith("request 100-0000000001: cannot be read: a JSON object is expected")
    assert found[4].startswith("request odd\\x1bname: cannot be read: its name is not")


def test_request_table_urgent_first() -> None:
    records = mirror_of(
        {
            "/nodepool/requests/200-0000000001": REQUEST,
            "/nodepool/requests/100-0000000002": {"state": "fulfilled", "nodes": ["0000000002", "0000000001"]},
        }
    )
    assert render(views.REQUEST_COLUMNS, views.requests(records)) == (
        "+----------------+----------+-----------+-----------+---------------------------+-----------------------+"
        "-------------+----------+\n"
        "| Request ID     | Priority | State     | Requestor | Node Types                | Nodes                 |"
        " Declined By | Event ID |\n"
        "+----------------+----------+-----------+-----------+---------------------------+-----------------------+"
        "-------------+----------+\n"
        "| 100-0000000002 | 0        | fulfilled |           |                           | 0000000002,0000000001 |"
        "             |          |\n"
        "| 200-0000000001 | 3        | requested | 3f9d      | ubuntu-jammy,ubuntu-jammy |                       |"
        " one,two     | c0ff     |\n"
        "+----------------+----------+-----------+-----------+---------------------------+-----------------------+"
        "-------------+----------+"
    )


def test_request_json_keys_in_order() -> None:
    row = views.requests(mirror_of({"/nodepool/requests/200-0000000001": REQUEST}))[0]
    assert list(views.chosen(views.REQUEST_COLUMNS, row).items()) == [
        ("id", "200-0000000001"),
        ("relative_priority", 3),
        ("state", "requested"),
        ("requestor", "3f9d"),
        ("node_types", ["ubuntu-jammy", "ubuntu-jammy"]),
        ("nodes", []),
        ("declined_by", ["one", "two"]),
        ("event_id", "c0ff"),
    ]


def test_info_tables() -> None:
    upload = {"state": "ready"}
    base = "/nodepool/images/{}/builds/{}/providers/{}/images/{}"
    records = mirror_of(
        {
            base.format("jammy", "bb", "rdo-1", "0000000002"): upload,
            base.format("jammy", "bb", "rdo-1", "0000000001"): b"",
            base.format("jammy", "aa", "rdo-1", "0000000001"): upload,
            base.format("bionic", "cc", "rdo-1", "0000000001"): upload,
            base.format("bionic", "cc", "other", "0000000001"): upload,
            "/nodepool/nodes/0000000003": ZUUL_NODE,
            "/nodepool/nodes/0000000001": JENKINS_NODE,
            "/nodepool/nodes/0000000002": POD,
        }
    )
    assert render(views.PROVIDER_IMAGE_COLUMNS, views.provider_images(records, "rdo-1")) == (
        "+------------+----------+-----------------------+\n"
        "| Image Name | Build ID | Upload IDs            |\n"
        "+------------+----------+-----------------------+\n"
        "| bionic     | cc       | 0000000001            |\n"
        "| jammy      | aa       | 0000000001            |\n"
        "| jammy      | bb       | 0000000001,0000000002 |\n"
        "+------------+----------+-----------------------+"
    )
    assert render(views.PROVIDER_NODE_COLUMNS, views.provider_nodes(records, "rdo-1")) == (
        "+------------+-----------+\n"
        "| ID         | Server ID |\n"
        "+------------+-----------+\n"
        "| 0000000001 |           |\n"
        "| 0000000003 | 6a1f      |\n"
        "+------------+-----------+"
    )
    assert views.provider_images(records, "nobody") == views.provider_nodes(records, "nobody") == []


def test_age_is_never_negative_and_may_exceed_99_days() -> None:
    assert views.age(-5) == "00:00:00:00"
    assert views.age(100 * 86400 + 1) == "100:00:00:01"
