"""Records of Nodepool 11, Zuul and Jenkins: what is read is written back (spec zookeeper 3 and 4)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodepool.model.component import Component
from nodepool.model.image import ImageBuild, ImageUpload
from nodepool.model.node import Node
from nodepool.model.record import Record, declaration
from nodepool.model.request import HAND_PRECEDENCE, MIN_READY_PRECEDENCE, NodeRequest, is_request_id
from nodepool.model.resources import Resources
from nodepool.model.states import BuildState, NodeState, RequestState, UploadState
from tests.unit.model import golden

Read = Callable[[bytes], Record]


def read_node(data: bytes) -> Node:
    return Node.from_json(data, id="0000004711")


def read_request(data: bytes) -> NodeRequest:
    return NodeRequest.from_json(data, id="200-0000031337")


def read_build(data: bytes) -> ImageBuild:
    return ImageBuild.from_json(data, image="ubuntu", id="4c8e9f")


def read_upload(data: bytes) -> ImageUpload:
    return ImageUpload.from_json(data, image="ubuntu", build_id="4c8e9f", provider="rdo-1", id="0000000001")


READERS: dict[str, Read] = {
    "node": read_node,
    "request": read_request,
    "build": read_build,
    "upload": read_upload,
    "component": Component.from_json,
}
COMPLETE = [
    (read_node, golden.NODE_READY),
    (read_node, golden.NODE_IN_USE),
    (read_node, golden.NODE_HELD),
    (read_node, golden.NODE_POD),
    (read_node, golden.NODE_BACKING),
    (read_request, golden.REQUEST_FULFILLED),
    (read_build, golden.BUILD_READY),
    (read_build, golden.BUILD_BUILDING),
    (read_upload, golden.UPLOAD_READY),
    (read_upload, golden.UPLOAD_FAILED),
    (Component.from_json, golden.POOL),
    (Component.from_json, golden.LAUNCHER),
]
"""Records with all keys that their kind has: they come out with the same keys and values."""


@pytest.mark.parametrize(("read", "text"), COMPLETE)
def test_a_complete_record_goes_out_as_it_came_in(read: Read, text: str) -> None:
    assert json.loads(read(text.encode()).to_json()) == json.loads(text)


@pytest.mark.parametrize(("read", "text"), COMPLETE)
def test_what_was_written_is_read_as_the_same_record(read: Read, text: str) -> None:
    record = read(text.encode())
    assert read(record.to_json()) == record


def test_the_values_of_a_node() -> None:
    node = read_node(golden.NODE_READY.encode())
    assert node.state is NodeState.READY
    assert (node.id, node.provider, node.pool, node.type) == ("0000004711", "rdo-1", "main", ("ubuntu-jammy",))
    assert (node.state_time, node.created_time) == (1718000123.41, 1718000050.0)
    assert node.host_keys == ("ssh-ed25519 AAAA",)
    assert node.quota == Resources(cores=4, instances=1, ram=8192)
    assert node.age_limit_of_hold == 0
    assert read_node(golden.NODE_HELD.encode()).age_limit_of_hold == 86400


def test_the_values_of_a_request_that_zuul_has_just_made() -> None:
    request = read_request(golden.REQUEST_SUBMITTED.encode())
    assert request.state is RequestState.REQUESTED
    assert (request.nodes, request.declined_by, request.reuse) == ((), (), True)
    assert request.node_types == ("ubuntu-jammy", "ubuntu-jammy")


def test_a_request_that_zuul_has_just_made_gains_only_what_nodepool_adds() -> None:
    written = json.loads(read_request(golden.REQUEST_SUBMITTED.encode()).to_json())
    expected = json.loads(golden.REQUEST_SUBMITTED) | {"declined_by": [], "nodes": [], "reuse": True}
    assert written == expected


@pytest.mark.parametrize("text", [golden.REQUEST_SUBMITTED, golden.REQUEST_JENKINS, golden.REQUEST_MIN_READY])
def test_zuul_finds_every_key_it_needs_in_any_request_that_we_wrote(text: str) -> None:
    written = json.loads(read_request(text.encode()).to_json())
    needed = {"requestor_data", "requestor", "node_types", "provider", "state", "state_time", "event_id"}
    assert needed <= written.keys()


def test_a_null_tenant_is_not_written_since_zuul_would_take_it() -> None:
    assert "tenant_name" not in json.loads(read_request(golden.REQUEST_MIN_READY.encode()).to_json())
    assert json.loads(read_request(golden.REQUEST_SUBMITTED.encode()).to_json())["tenant_name"] == "acme"


@pytest.mark.parametrize("text", [golden.REQUEST_SUBMITTED, golden.REQUEST_FULFILLED])
def test_requestor_data_survives_verbatim(text: str) -> None:
    request = read_request(text.encode()).in_state(RequestState.PENDING, 1.0) if "requested" in text else None
    request = request or read_request(text.encode())
    assert request.requestor_data["span_info"]["trace_id"] == 312312644215438567100414707468360678011
    assert b"312312644215438567100414707468360678011" in request.to_json()
    assert b"18446744073709551557" in request.to_json()
    assert json.loads(request.to_json())["requestor_data"] == json.loads(text)["requestor_data"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**130), 2**130) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_any_requestor_data_survives(value: Any) -> None:
    data = json.dumps({"state": "requested", "requestor_data": value}).encode()
    assert json.loads(read_request(data).to_json())["requestor_data"] == json.loads(data)["requestor_data"]


@given(st.sampled_from(sorted(READERS)), st.dictionaries(st.text(), json_values, max_size=5))
def test_unknown_keys_survive(kind: str, unknown: dict[str, Any]) -> None:
    read = READERS[kind]
    record = read(b'{"state": "failed"}' if kind != "node" else b'{"state": "ready"}')
    unknown = {key: value for key, value in unknown.items() if key not in {*declaration(type(record)), "ssh_port"}}
    data = json.dumps({"state": "failed" if kind != "node" else "ready", **unknown}).encode()
    written = json.loads(read(data).to_json())
    assert {key: written[key] for key in unknown} == json.loads(json.dumps(unknown))


def test_keys_of_jenkins_and_zuul_survive() -> None:
    assert json.loads(read_node(golden.NODE_JENKINS.encode()).to_json())["build_id"] == "job-42"
    assert json.loads(read_node(golden.NODE_IN_USE.encode()).to_json())["id"] == "0000004711"
    request = json.loads(read_request(golden.REQUEST_JENKINS.encode()).to_json())
    assert (request["jenkins_label"], request["build_id"]) == ("nodepool-centos", "job-42")


def test_ssh_port_follows_connection_port() -> None:
    node = read_node(golden.NODE_READY.encode()).replace(connection_port=2222)
    written = json.loads(node.to_json())
    assert (written["connection_port"], written["ssh_port"]) == (2222, 2222)


def test_a_new_node_is_written_with_every_key() -> None:
    written = json.loads(Node(id="0000000001").to_json())
    assert written.keys() == json.loads(golden.NODE_READY).keys()
    assert written["state"] == "init"


def test_a_new_request_is_written_with_every_key_but_a_null_tenant() -> None:
    written = json.loads(NodeRequest(id="900-0000000001").to_json())
    assert written.keys() | {"tenant_name"} == json.loads(golden.REQUEST_FULFILLED).keys()


@pytest.mark.parametrize("text", [golden.POOL, golden.LAUNCHER])
def test_components_are_byte_for_byte_those_of_nodepool_11(text: str) -> None:
    assert Component.from_json(text.encode()).to_json() == text.encode()


def test_pool_keys_are_written_for_pools_only() -> None:
    launcher = json.loads(Component(kind="launcher", hostname="nl1").to_json())
    assert launcher.keys() == {"hostname", "kind", "model_api", "state", "version"}
    pool = json.loads(Component(kind="pool", hostname="nl1").to_json())
    assert pool.keys() == json.loads(golden.POOL).keys()


def test_formats_of_a_build_are_sorted_and_left_out_when_there_are_none() -> None:
    build = read_build(b'{"state": "ready", "formats": "raw,qcow2,"}')
    assert build.formats == ("qcow2", "raw")
    assert json.loads(build.to_json())["formats"] == "qcow2,raw"
    assert not {"formats", "builder", "builder_id"} & json.loads(read_build(b'{"state": "failed"}').to_json()).keys()


def test_a_change_of_state_sets_its_time() -> None:
    node = read_node(golden.NODE_READY.encode()).in_state(NodeState.DELETING, 99.5, comment="x")
    assert (node.state, node.state_time, node.comment) == (NodeState.DELETING, 99.5, "x")
    request = read_request(golden.REQUEST_SUBMITTED.encode()).in_state(RequestState.PENDING, 99.5)
    assert (request.state, request.state_time) == (RequestState.PENDING, 99.5)
    assert read_build(golden.BUILD_BUILDING.encode()).in_state(BuildState.READY, 2.0).state_time == 2.0
    assert read_upload(golden.UPLOAD_READY.encode()).in_state(UploadState.DELETING, 2.0).state_time == 2.0


def test_a_change_without_a_change_of_state_keeps_its_time() -> None:
    assert read_node(golden.NODE_READY.encode()).replace(allocated_to=None).state_time == 1718000123.41


def test_records_are_immutable() -> None:
    with pytest.raises(AttributeError):
        read_node(golden.NODE_READY.encode()).state = NodeState.USED  # type: ignore[misc]


def test_the_queue_orders_precedence_as_text_then_relative_priority_then_sequence() -> None:
    """Spec zookeeper 4.2.1 and 10.7."""

    def request(name: str, relative: int | None = 0) -> NodeRequest:
        return NodeRequest(id=name, relative_priority=relative)

    expected = [
        request("100-0000000009"),
        request("1000-0000000001"),
        request("200-0000000004", -1),
        request("200-0000000003", None),
        request("200-0000000005", 1),
        request("200-0000000002", 5),
        request("300-0000000001"),
    ]
    mixed = [*expected[3:], *expected[:3]]
    assert sorted(mixed, key=lambda entry: entry.order) == expected


@pytest.mark.parametrize("name", ["200-0000031337", "100-0000000000", "1000-0000000001", "high-0000000001"])
def test_names_of_requests(name: str) -> None:
    assert is_request_id(name)


@pytest.mark.parametrize(
    "name", ["", "lock", "200", "200-", "200-1", "-0000000001", "2-0-0000000001", "200-000000000x"]
)
def test_names_that_are_not_those_of_requests(name: str) -> None:
    assert not is_request_id(name)


def test_precedences_of_our_own_requests_are_such_as_zuul_recognises() -> None:
    assert len(MIN_READY_PRECEDENCE) == len(HAND_PRECEDENCE) == 3
    assert read_request(golden.REQUEST_MIN_READY.encode()).is_min_ready
    assert not read_request(golden.REQUEST_SUBMITTED.encode()).is_min_ready
