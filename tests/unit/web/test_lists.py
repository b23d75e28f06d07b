"""The lists of the web server, byte for byte (spec launcher 6, operation 8)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from nodepool.web import lists
from nodepool.web.accept import Form
from nodepool.zk.mirror import Mirror
from nodepool.zk.store import Batch, Datum

NOW = 1718000200.0
BUILD = "2d4f" * 8
OTHER = "77aa" * 8
NODE: dict[str, Any] = {
    "state": "in-use",
    "state_time": NOW - 90_061.9,
    "provider": "rack",
    "pool": "main",
    "type": ["jammy", "any"],
    "allocated_to": "200-0000000001",
    "az": "nova",
    "public_ipv4": "203.0.113.9",
    "private_ipv4": "10.0.0.9",
    "public_ipv6": "2001:db8::9",
    "connection_port": 22,
    "launcher": "nl1-PoolWorker.rack-main-5b",
    "external_id": "6a1f",
    "hostname": "jammy-1",
    "comment": "a <b>",
    "user_data": {"k": 1},
    "hold_job": "unit",
    "username": "zuul",
    "driver_data": {"a": 1},
}
RECORDS: Mapping[str, Any] = {
    "nodes/0000000002": {"state": "ready", "type": ["pod"], "connection_port": {"token": "TOP-SECRET"}},
    "nodes/0000000001": NODE,
    "nodes/0000000001/lock": None,
    "nodes/0000000001/lock/aa__lock__0000000000": None,
    "nodes/0000000003": "not a record",
    "requests/300-0000000002": {"node_types": ["jammy"], "requestor": "me", "state": "requested"},
    "requests/200-0000000001": {
        "node_types": ["jammy", "pod"],
        "nodes": ["0000000001"],
        "requestor": "zuul",
        "state": "fulfilled",
        "relative_priority": 3,
        "declined_by": ["one", "two"],
        "event_id": "c0ff",
    },
    "components/pool/nl1-0000000001": {"kind": "pool", "id": "p1", "supported_labels": ["pod", "jammy"]},
    "components/pool/nl2-0000000002": {"kind": "pool", "id": "p2", "supported_labels": ["jammy", "any"]},
    "components/launcher/nl1": {"kind": "launcher"},
    "images/jammy": None,
    "images/noble": None,
    "images/noble/pause": None,
    "images/jammy/request-build": None,
    f"images/jammy/builds/{BUILD}": {
        "builder": "nb1",
        "formats": ["qcow2", "raw"],
        "state": "ready",
        "state_time": NOW - 60.5,
    },
    f"images/noble/builds/{OTHER}": {"builder": "nb1", "formats": ["raw"], "state": "ready", "state_time": NOW - 7200},
    f"images/jammy/builds/{BUILD}/providers/rack/images/0000000001": {
        "external_name": "jammy-1",
        "external_id": "77",
        "state": "ready",
        "state_time": NOW - 5,
    },
}


def mirror() -> Mirror:
    texts = {path: b"" if value is None else json.dumps(value).encode() for path, value in RECORDS.items()}
    data = {f"/nodepool/{path}": Datum(text, 0, 1, 1, NOW - 100, NOW, 0) for path, text in texts.items()}
    filled = Mirror()
    filled.apply(Batch(1, data, complete=True))
    return filled


def text(name: str, fields: str | None = None, node_id: str | None = None) -> str:
    return _told(name, Form.TEXT, fields, node_id)


def objects(name: str, fields: str | None = None, node_id: str | None = None) -> Any:
    return json.loads(_told(name, Form.JSON, fields, node_id))


def _told(name: str, form: Form, fields: str | None, node_id: str | None) -> str:
    wanted = lists.OF_THE_LAUNCHER[name]
    columns = lists.chosen_columns(wanted.columns, fields)
    return lists.told(wanted, form, columns, lists.rows_of(wanted, mirror(), node_id, NOW), NOW).decode()


def test_what_there_is() -> None:
    images = ["image-list", "dib-image-list", "image-status"]
    assert list(lists.OF_THE_BUILDER) == images
    assert list(lists.OF_THE_LAUNCHER) == ["node-list", "request-list", "label-list", *images]


def test_nodes_in_text() -> None:
    header, first, second = (line.strip("|").split("|") for line in text("node-list").splitlines() if line[0] == "|")
    assert [cell.strip() for cell in header] == [
        "ID", "Provider", "Label", "Server ID", "Public IPv4", "IPv6", "State", "Age", "Locked", "Pool", "Hostname",
        "Private IPv4", "AZ", "Username", "Port", "Launcher", "Allocated To", "Hold Job", "Comment", "User Data",
        "Driver Data",
    ]  # fmt: skip
    assert [cell.strip() for cell in first] == [
        "0000000001", "rack", "jammy,any", "6a1f", "203.0.113.9", "2001:db8::9", "in-use", "01:01:01:01", "locked",
        "main", "jammy-1", "10.0.0.9", "nova", "zuul", "22", "nl1-PoolWorker.rack-main-5b", "200-0000000001", "unit",
        "a <b>", "{'k': 1}", "{'a': 1}",
    ]  # fmt: skip
    assert [cell.strip() for cell in second][14] == "redacted"


def test_nodes_in_json() -> None:
    first, second = objects("node-list")
    assert list(first.items()) == [
        ("id", "0000000001"),
        ("provider", "rack"),
        ("label", ["jammy", "any"]),
        ("server_id", "6a1f"),
        ("public_ipv4", "203.0.113.9"),
        ("ipv6", "2001:db8::9"),
        ("state", "in-use"),
        ("age", "01:01:01:01"),
        ("locked", "locked"),
        ("pool", "main"),
        ("hostname", "jammy-1"),
        ("private_ipv4", "10.0.0.9"),
        ("AZ", "nova"),
        ("username", "zuul"),
        ("connection_port", 22),
        ("launcher", "nl1-PoolWorker.rack-main-5b"),
        ("allocated_to", "200-0000000001"),
        ("hold_job", "unit"),
        ("comment", "a <b>"),
        ("user_data", {"k": 1}),
        ("driver_data", {"a": 1}),
    ]
    assert (second["id"], second["age"], second["locked"]) == ("0000000002", None, "unlocked")
    assert second["connection_port"] == "redacted"


def test_one_node() -> None:
    assert [node["id"] for node in objects("node-list", node_id="0000000002")] == ["0000000002"]
    for unknown in ("0000000009", "0000000003", "x", ""):
        assert objects("node-list", node_id=unknown) == []
    assert len(objects("request-list", node_id="0000000002")) == 2


def test_some_columns_in_the_lists_own_order() -> None:
    assert text("node-list", "state, id,") == (
        "+------------+--------+\n"
        "| ID         | State  |\n"
        "+------------+--------+\n"
        "| 0000000001 | in-use |\n"
        "| 0000000002 | ready  |\n"
        "+------------+--------+\n"
    )
    assert objects("node-list", "state,id", "0000000001") == [{"id": "0000000001", "state": "in-use"}]
    assert text("node-list", "") == text("node-list")


def test_columns_that_there_are_not() -> None:
    with pytest.raises(lists.UnknownFields, match=r"no column 'cloud' here, but label$"):
        text("label-list", "label,cloud")


def test_requests() -> None:
    assert text("request-list") == (
        "+----------------+----------+-----------+-----------+------------+------------+-------------+----------+\n"
        "| Request ID     | Priority | State     | Requestor | Node Types | Nodes      | Declined By | Event ID |\n"
        "+----------------+----------+-----------+-----------+------------+------------+-------------+----------+\n"
        "| 200-0000000001 | 3        | fulfilled | zuul      | jammy,pod  | 0000000001 | one,two     | c0ff     |\n"
        "| 300-0000000002 | 0        | requested | me        | jammy      |            |             |          |\n"
        "+----------------+----------+-----------+-----------+------------+------------+-------------+----------+\n"
    )
    assert list(objects("request-list")[0].items()) == [
        ("id", "200-0000000001"),
        ("relative_priority", 3),
        ("state", "fulfilled"),
        ("requestor", "zuul"),
        ("node_types", ["jammy", "pod"]),
        ("nodes", ["0000000001"]),
        ("declined_by", ["one", "two"]),
        ("event_id", "c0ff"),
    ]


def test_labels_of_all_pools() -> None:
    assert objects("label-list") == [{"label": "any"}, {"label": "jammy"}, {"label": "pod"}]
    assert text("label-list") == "+-------+\n| Label |\n+-------+\n| any   |\n| jammy |\n| pod   |\n+-------+\n"


def test_builds() -> None:
    rule = f"+-{'-' * 38}-+-------+---------+-----------+--------+-------------+\n"
    assert text("dib-image-list") == (
        f"{rule}| {'ID':38} | Image | Builder | Formats   | State  | Age         |\n{rule}"
        f"| jammy-{BUILD} | jammy | nb1     | qcow2,raw | ready  | 00:00:01:01 |\n"
        f"| noble-{OTHER} | noble | nb1     | raw       | paused | 00:02:00:00 |\n{rule}"
    )
    assert list(objects("dib-image-list")[0].items()) == [
        ("id", f"jammy-{BUILD}"),
        ("image", "jammy"),
        ("builder", "nb1"),
        ("formats", ["qcow2", "raw"]),
        ("state", "ready"),
        ("age", int(NOW - 60.5)),
    ]


def test_uploads() -> None:
    widths = (34, 12, 10, 7, 21, 19, 7, 13)
    rule = "+" + "+".join("-" * width for width in widths) + "+\n"
    assert text("image-list") == (
        f"{rule}| {'Build ID':32} | Upload ID  | Provider | Image | Provider Image Name | Provider Image ID | State |"
        f" Age         |\n{rule}"
        f"| {BUILD} | 0000000001 | rack     | jammy | jammy-1             | 77                | ready |"
        f" 00:00:00:05 |\n{rule}"
    )
    assert list(objects("image-list")[0].items()) == [
        ("id", BUILD),
        ("upload_id", "0000000001"),
        ("provider", "rack"),
        ("image", "jammy"),
        ("external_name", "jammy-1"),
        ("external_id", "77"),
        ("state", "ready"),
        ("age", int(NOW - 5)),
    ]


def test_images() -> None:
    assert text("image-status") == (
        "+-------+--------+---------------+-------------------+\n"
        "| Image | Paused | Build Request | Build Request Age |\n"
        "+-------+--------+---------------+-------------------+\n"
        "| jammy | False  | pending       | 00:00:01:40       |\n"
        "| noble | True   |               |                   |\n"
        "+-------+--------+---------------+-------------------+\n"
    )
    assert objects("image-status") == [
        {"image": "jammy", "paused": False, "build_request": "pending", "build_request_age": int(NOW - 100)},
        {"image": "noble", "paused": True, "build_request": None, "build_request_age": None},
    ]


def test_a_list_of_nothing() -> None:
    wanted = lists.OF_THE_LAUNCHER["label-list"]
    assert lists.told(wanted, Form.TEXT, wanted.columns, [], NOW) == b"+-------+\n| Label |\n+-------+\n+-------+\n"
    assert lists.told(wanted, Form.JSON, wanted.columns, [], NOW) == b"[]"
