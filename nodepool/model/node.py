"""The record of a node (spec zookeeper 4.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nodepool.model.record import (
    Record,
    epoch,
    json_field,
    lenient_number,
    one_of,
    opaque,
    text,
    texts,
    whole_number,
)
from nodepool.model.resources import Resources
from nodepool.model.states import NodeState, check_transition


def _port(value: Any) -> Any:
    """A TCP port, null, or the object that container drivers put there; kept if it is none of them."""
    try:
        return whole_number(value)
    except ValueError:
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Node(Record):
    """A node. ``id`` comes from the path; the other fields are explained in spec zookeeper 4.1."""

    id: str
    state: NodeState = json_field("state", one_of(NodeState), NodeState.INIT, required=True)
    state_time: float | None = json_field("state_time", epoch, None)
    cloud: str | None = json_field("cloud", text, None)
    provider: str | None = json_field("provider", text, None)
    pool: str | None = json_field("pool", text, None)
    type: tuple[str, ...] = json_field("type", texts, ())
    allocated_to: str | None = json_field("allocated_to", text, None)
    az: str | None = json_field("az", text, None)
    region: str | None = json_field("region", text, None)
    public_ipv4: str | None = json_field("public_ipv4", text, None)
    private_ipv4: str | None = json_field("private_ipv4", text, None)
    public_ipv6: str | None = json_field("public_ipv6", text, None)
    host_id: str | None = json_field("host_id", text, None)
    interface_ip: str | None = json_field("interface_ip", text, None)
    connection_type: str | None = json_field("connection_type", text, None)
    connection_port: Any = json_field("connection_port", _port, 22)
    """TCP port, None, or an object (container drivers)."""
    shell_type: str | None = json_field("shell_type", text, None)
    username: str | None = json_field("username", text, "zuul")
    python_path: str | None = json_field("python_path", text, None)
    host_keys: tuple[str, ...] = json_field("host_keys", texts, ())
    image_id: str | None = json_field("image_id", text, None)
    launcher: str | None = json_field("launcher", text, None)
    created_time: float | None = json_field("created_time", epoch, None)
    external_id: Any = json_field("external_id", opaque, None)
    hostname: str | None = json_field("hostname", text, None)
    comment: str | None = json_field("comment", text, None)
    user_data: Any = json_field("user_data", opaque, None)
    hold_job: str | None = json_field("hold_job", text, None)
    hold_expiration: int | None = json_field("hold_expiration", lenient_number, None)
    """Longest time in state ``hold``, in seconds; None or 0: no limit of its own."""
    resources: Any = json_field("resources", opaque, None)
    slot: int | None = json_field("slot", whole_number, None)
    attributes: Any = json_field("attributes", opaque, None)
    tenant_name: str | None = json_field("tenant_name", text, None)
    driver_data: Any = json_field("driver_data", opaque, None)
    requestor: str | None = json_field("requestor", text, None)
    node_properties: Any = json_field("node_properties", opaque, None)

    @classmethod
    def from_mapping(cls, values: Any, **identity: Any) -> Node:
        """Read a record; an absent ``connection_port`` is taken from ``ssh_port``."""
        if "connection_port" not in values and "ssh_port" in values:
            values = {**values, "connection_port": values["ssh_port"]}
        values = {key: value for key, value in values.items() if key != "ssh_port"}
        return super(Node, cls).from_mapping(values, **identity)

    def to_mapping(self) -> dict[str, Any]:
        """The JSON object, with ``ssh_port`` beside ``connection_port`` for old clients."""
        values = super(Node, self).to_mapping()
        values["ssh_port"] = values["connection_port"]
        return values

    def in_state(self, state: NodeState, now: float, **changes: Any) -> Node:
        """A copy in ``state`` since ``now`` (epoch). Raises :class:`~nodepool.model.states.IllegalTransition`."""
        check_transition(self.state, state)
        return self.replace(state=state, state_time=now, **changes)

    @property
    def quota(self) -> Resources | None:
        """Recorded use of quota, or None where the record has none (Jenkins drops it)."""
        return Resources.from_json(self.resources)

    @property
    def age_limit_of_hold(self) -> int:
        """The record's own limit for state ``hold`` in seconds; 0 means none."""
        return max(self.hold_expiration or 0, 0)
