"""What the decision core asks the world to do. Values only; :mod:`nodepool.launcher.executor` carries them out."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from nodepool.daemon.instructions import Commit, Measured, Say
from nodepool.driver.adapter import Leftover, Server, ServerOrder
from nodepool.driver.nodescan import ScanRequest
from nodepool.driver.readycheck.request import CheckRequest
from nodepool.model.component import Component


class Purpose(Enum):
    """What a transaction is for."""

    TAKE = "take a request"
    HAND_OVER = "hand ready nodes over to a request"
    FULFIL = "fulfil a request"
    DECLINE = "decline a request"
    GIVE_BACK = "give a request back"
    RESET = "reset a lost request"
    KEEP = "hold a failed node for study"
    ABANDON = "replace a node whose server does not go"
    DROP_LOCK = "give up a request's lock"
    REMOVE_LOCK = "remove the lock directory of a request that is gone"
    LOCK_NODE = "lock a new node and start building"
    STORE_NODE = "store the progress of a node"
    FREE = "free a node"
    MARK = "mark a node for deletion"
    ERASE = "remove the record of a node"
    ERASE_EMPTY = "remove an empty record"
    REGISTER = "register a host"
    UPDATE = "update a registered host"
    ASK_STOCK = "request a node for stock"
    END_STOCK = "remove a finished request for stock"
    ELECT = "take part in an election"
    REPORT = "take part in the election of the launcher that tells statsd of all nodes"
    UNLOCK = "remove a contender that nobody uses"


@dataclass(frozen=True, slots=True)
class CreateServer:
    """Make a server for a node."""

    provider: str
    order: ServerOrder
    attempt: int


@dataclass(frozen=True, slots=True)
class CancelCreate:
    """Do not make a server for a node, unless the call has begun."""

    provider: str
    node_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class FinishServer:
    """Give a server what its creation could not."""

    provider: str
    node_id: str
    attempt: int
    pool: str
    server: Server


@dataclass(frozen=True, slots=True)
class DeleteServer:
    """Delete a server of a node, or a leaked one."""

    provider: str
    node_id: str
    external_id: Any


@dataclass(frozen=True, slots=True)
class ListServers:
    """List the servers of a provider at ``at`` (epoch seconds) or as soon as its poll interval allows."""

    provider: str
    at: float


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """Ask a provider for its limits."""

    provider: str


@dataclass(frozen=True, slots=True)
class FindLeftovers:
    """Look for what servers that are gone may have left in a cloud."""

    provider: str


@dataclass(frozen=True, slots=True)
class RemoveLeftover:
    """Remove one of them, unless it is ``until`` (epoch seconds) already: it was judged by what was seen before."""

    provider: str
    leftover: Leftover
    until: float


@dataclass(frozen=True, slots=True)
class ReadConsole:
    """Log the console of a server whose launch failed, with the request that it was for."""

    provider: str
    node_id: str
    external_id: Any
    request_id: str | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class StartScan:
    """Look at a host."""

    request: ScanRequest


@dataclass(frozen=True, slots=True)
class CancelScan:
    """Stop looking at a host."""

    key: Hashable


@dataclass(frozen=True, slots=True)
class StartCheck:
    """Run a label's check before use on a machine."""

    request: CheckRequest


@dataclass(frozen=True, slots=True)
class CancelCheck:
    """Stop a check."""

    key: Hashable


@dataclass(frozen=True, slots=True)
class PublishPool:
    """Keep this component registered for one of our pools; None removes it."""

    launcher_id: str
    component: Component | None


CloudInstruction = (
    CreateServer
    | CancelCreate
    | FinishServer
    | DeleteServer
    | ListServers
    | ReadLimits
    | FindLeftovers
    | RemoveLeftover
    | ReadConsole
)
"""What one provider is asked."""
Order = CloudInstruction | StartScan | CancelScan | StartCheck | CancelCheck | PublishPool
"""What only a launcher asks for."""
Instruction = Commit[Purpose, Hashable] | Say | Measured | Order
