"""Readers are tolerant of what other programs write, and refuse with a reason what is no record (spec zookeeper 3)."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import find, given
from hypothesis import strategies as st

from nodepool.model.component import Component
from nodepool.model.image import ImageBuild, ImageUpload
from nodepool.model.node import Node
from nodepool.model.record import BrokenRecord, declaration
from nodepool.model.request import NodeRequest
from nodepool.model.states import NodeState
from tests.unit.model import golden


def node(**values: Any) -> Node:
    """A node whose record has these keys and a state."""
    return Node.from_json(json.dumps({"state": "ready", **values}).encode(), id="0000000001")


def request(**values: Any) -> NodeRequest:
    """A request whose record has these keys and a state."""
    return NodeRequest.from_json(json.dumps({"state": "requested", **values}).encode(), id="200-0000000001")


def test_missing_keys_take_their_defaults() -> None:
    read = node()
    assert (read.type, read.host_keys, read.username, read.connection_port) == ((), (), "zuul", 22)
    assert (read.provider, read.resources, read.hold_expiration, read.state_time) == (None, None, None, None)
    assert (request().reuse, request().node_types, request().relative_priority) == (True, (), 0)
    build = ImageBuild.from_json(b'{"state": "ready"}', image="i", id="b")
    assert (build.username, build.python_path, build.formats) == ("zuul", "/usr/bin/python2", ())
    upload = ImageUpload.from_json(b'{"state": "ready"}', image="i", build_id="b", provider="p", id="u")
    assert (upload.username, upload.python_path, upload.external_id) == ("zuul", "/usr/bin/python2", None)
    component = Component.from_json(b"{}")
    assert (component.priority, component.supported_labels, component.paused) == (100, (), False)


@pytest.mark.parametrize("cls", [Node, NodeRequest, ImageBuild, ImageUpload, Component])
def test_nulls_are_read_wherever_there_may_be_one(cls: Any) -> None:
    identity = {"id": "1", "image": "i", "build_id": "b", "provider": "p"}
    known = {name: identity[name] for name in identity if name in cls.__slots__ and name not in declaration(cls)}
    values = {key: None for key in declaration(cls) if key != "state"}
    record = cls.from_json(json.dumps(values | {"state": "failed"}).encode(), **known)
    written = json.loads(record.to_json())
    lists = {"type", "host_keys", "node_types", "nodes", "declined_by", "supported_labels", "formats"}
    flags = {"reuse", "paused"}
    assert {key: value for key, value in written.items() if value is not None and key not in lists | flags} == {
        "state": "failed"
    }


def test_null_values_stay_null() -> None:
    """A key that is there with null keeps it, unlike one that is missing (spec zookeeper 4.1)."""
    read = node(connection_port=None, username=None)
    assert (read.connection_port, read.username) == (None, None)
    assert json.loads(read.to_json())["ssh_port"] is None


@pytest.mark.parametrize(("found", "expected"), [(22.0, 22), (22, 22), ("22", 22), ("22.0", 22)])
def test_whole_numbers_may_come_as_floats_or_text(found: Any, expected: int) -> None:
    read = node(connection_port=found, slot=found)
    assert (read.connection_port, read.slot) == (expected, expected)
    assert type(read.slot) is int
    assert request(relative_priority=found).relative_priority == expected


def test_large_numbers_in_text_are_exact() -> None:
    assert node(slot="312312644215438567100414707468360678011").slot == 312312644215438567100414707468360678011


@pytest.mark.parametrize(
    ("found", "expected"),
    [("3600", 3600), (3600, 3600), (3600.0, 3600), ("", 0), ("soon", 0), ([], 0), (1.5, 0), (True, 0), (None, None)],
)
def test_hold_expiration_is_read_from_anything(found: Any, expected: int | None) -> None:
    read = node(hold_expiration=found)
    assert read.hold_expiration == expected
    assert read.age_limit_of_hold == (expected or 0)


def test_a_negative_hold_expiration_is_no_limit() -> None:
    assert node(hold_expiration=-5).age_limit_of_hold == 0


def test_jenkins_milliseconds_mean_never() -> None:
    read = Node.from_json(golden.NODE_JENKINS.encode(), id="0000000001")
    assert read.age_limit_of_hold == 1718086523000


def test_a_record_stripped_by_jenkins() -> None:
    read = Node.from_json(golden.NODE_JENKINS.encode(), id="0000000001")
    assert (read.state, read.type, read.connection_port) == (NodeState.IN_USE, ("centos",), 22)
    assert (read.quota, read.attributes, read.tenant_name, read.requestor) == (None, None, None, None)
    assert read.created_time == 1.71800013e9


def test_an_old_record_with_one_type_as_text() -> None:
    assert node(type="ubuntu").type == ("ubuntu",)
    assert json.loads(node(type="ubuntu").to_json())["type"] == ["ubuntu"]


def test_an_old_record_with_ssh_port_only() -> None:
    read = node(ssh_port=2222)
    assert read.connection_port == 2222
    written = json.loads(read.to_json())
    assert (written["connection_port"], written["ssh_port"]) == (2222, 2222)


def test_ssh_port_does_not_matter_beside_connection_port() -> None:
    assert node(connection_port=None, ssh_port=22).connection_port is None


def test_ports_that_are_no_numbers_are_kept() -> None:
    for port in ({"pod": "p"}, "many", [1], True, 22.5):
        assert node(connection_port=port).connection_port == port


@pytest.mark.parametrize("value", [None, [], "8 cores", 3, {"cores": None}, {"cores": "4"}, {"cores": True}])
def test_resources_that_are_no_amounts_break_nothing(value: Any) -> None:
    quota = node(resources=value).quota
    assert quota is None if not isinstance(value, dict) else not quota
    assert json.loads(node(resources=value).to_json())["resources"] == value


def test_user_data_is_never_interpreted() -> None:
    for value in ("{broken", {"zuul_system": 1}, [None], 2**127, None):
        assert node(user_data=value).user_data == value


def test_ids_may_be_numbers() -> None:
    assert node(allocated_to=12, tenant_name=7).allocated_to == "12"


def test_text_in_other_encodings_of_unicode() -> None:
    assert node(comment="Größe \U0001f600").comment == "Größe \U0001f600"
    assert Node.from_json(b'\xef\xbb\xbf{"state": "ready"}', id="1").state is NodeState.READY


BROKEN = [
    (b"", "empty"),
    (b"   ", "not JSON"),
    (b"{", "not JSON"),
    (b"requestor_7", "not JSON"),
    (b"\xff\xfe\xff", "not JSON"),
    (b"[" * 100_000, "not JSON"),
    (b"1" * 5000, "not JSON"),
    (b"[]", "found list"),
    (b"null", "found NoneType"),
    (b'"ready"', "found str"),
    (b"{}", "'state' is missing"),
    (b'{"state": null}', "'state'"),
    (b'{"state": "resting"}', "'resting' is not one of"),
    (b'{"state": 3}', "3 is not one of"),
    (b'{"state": ["ready"]}', "is not one of"),
]


@pytest.mark.parametrize(("data", "reason"), BROKEN)
@pytest.mark.parametrize("kind", ["node", "request", "build", "upload"])
def test_what_is_no_record_is_refused_with_a_reason(kind: str, data: bytes, reason: str) -> None:
    with pytest.raises(BrokenRecord, match=reason):
        _read(kind, data)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"state_time": "yesterday"}, "state_time"),
        ({"state_time": True}, "state_time"),
        ({"type": {"a": 1}}, "type"),
        ({"type": [1]}, "type"),
        ({"host_keys": 5}, "host_keys"),
        ({"provider": ["rdo"]}, "provider"),
        ({"slot": 1.5}, "slot"),
        ({"slot": "x"}, "slot"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(values: dict[str, Any], key: str) -> None:
    with pytest.raises(BrokenRecord, match=f"'{key}'"):
        node(**values)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_time_that_is_no_number_is_refused(number: str) -> None:
    with pytest.raises(BrokenRecord, match="'state_time'"):
        Node.from_json(f'{{"state": "ready", "state_time": {number}}}'.encode(), id="1")


@given(st.sampled_from(["node", "request", "build", "upload", "component"]), st.binary(max_size=60))
def test_nothing_but_broken_record_comes_out_of_any_bytes(kind: str, data: bytes) -> None:
    with contextlib.suppress(BrokenRecord):
        _read(kind, data)


# Hypothesis makes its tables of Unicode with the first text: a second that is not to count as that of an example.
find(st.text(), lambda _: True)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@given(st.data(), st.sampled_from([Node, NodeRequest, ImageBuild, ImageUpload, Component]))
def test_nothing_but_broken_record_comes_out_of_any_values(data: st.DataObject, cls: Any) -> None:
    keys = st.sampled_from(sorted({*declaration(cls), "ssh_port"}))
    values = data.draw(st.dictionaries(keys, _values, max_size=6))
    identity = {"id": "1", "image": "i", "build_id": "b", "provider": "p"}
    known = {name: identity[name] for name in identity if name in cls.__slots__ and name not in declaration(cls)}
    try:
        record = cls.from_json(json.dumps({"state": "ready"} | values).encode(), **known)
    except BrokenRecord:
        return
    again = cls.from_json(record.to_json(), **known)
    assert again.to_json() == record.to_json()


def _read(kind: str, data: bytes) -> object:
    match kind:
        case "node":
            return Node.from_json(data, id="1")
        case "request":
            return NodeRequest.from_json(data, id="1")
        case "build":
            return ImageBuild.from_json(data, image="i", id="b")
        case "upload":
            return ImageUpload.from_json(data, image="i", build_id="b", provider="p", id="u")
        case _:
            return Component.from_json(data)
