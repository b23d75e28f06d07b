"""States of records and the transitions between them (spec zookeeper 5).

Each member says what is held or waited for in that state. A transition that is not in the table is a defect of
whoever asks for it: :func:`check_transition` refuses it before it is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class IllegalTransition(Exception):
    """Our own code asked for a change of state that the tables do not allow."""


class NodeState(StrEnum):
    """State of a node."""

    INIT = "init"
    """The record exists; nothing was asked of a cloud. Waits for its launcher to lock it."""
    BUILDING = "building"
    """A machine is being made, or is up and not checked yet. The launcher holds the lock."""
    TESTING = "testing"
    """Never written; known so that old records can be read."""
    READY = "ready"
    """A machine waits, reserved for a request if ``allocated_to`` is set. Locked only around a change."""
    IN_USE = "in-use"
    """The requestor works on it and holds the lock; without the lock it is garbage."""
    USED = "used"
    """The requestor is done. Waits for deletion."""
    HOLD = "hold"
    """Kept for study by a person. Unlocked; ends by age, by hand or by the requestor."""
    DELETING = "deleting"
    """The machine is being removed; the deleter holds the lock while it works."""
    FAILED = "failed"
    """No machine could be made. Waits for deletion of what is left of it."""
    ABORTED = "aborted"
    """The cloud had no room. Waits for deletion; another record takes its place."""
    DELETED = "deleted"
    """The machine is gone; the record is about to go."""


class RequestState(StrEnum):
    """State of a node request."""

    REQUESTED = "requested"
    """Waits for a pool to take it. Nothing is held."""
    PENDING = "pending"
    """A pool works on it and holds its lock."""
    FULFILLED = "fulfilled"
    """All nodes are ready and allocated to it. The requestor's turn."""
    FAILED = "failed"
    """No pool can serve it. The requestor's turn."""


class BuildState(StrEnum):
    """State of an image build."""

    BUILDING = "building"
    """The image command runs; its builder holds the image's build lock."""
    READY = "ready"
    """The files are complete on the builder's disk."""
    FAILED = "failed"
    """The command failed. Waits for clean-up."""
    DELETING = "deleting"
    """Files and uploads are being removed."""


class UploadState(StrEnum):
    """State of an image upload."""

    UPLOADING = "uploading"
    """The transfer runs; its builder holds the upload lock."""
    READY = "ready"
    """The provider has the image; launchers may use it."""
    FAILED = "failed"
    """The transfer failed. Waits for clean-up."""
    DELETING = "deleting"
    """The provider's image is being removed."""


_SWEPT = (NodeState.DELETING,)

NODE_TRANSITIONS: Mapping[NodeState | None, tuple[NodeState, ...]] = {
    None: (NodeState.INIT, NodeState.READY),
    NodeState.INIT: (NodeState.BUILDING, *_SWEPT),
    NodeState.BUILDING: (NodeState.READY, NodeState.FAILED, NodeState.ABORTED, NodeState.HOLD, *_SWEPT),
    NodeState.TESTING: _SWEPT,
    NodeState.READY: (NodeState.IN_USE, NodeState.HOLD, *_SWEPT),
    NodeState.IN_USE: (NodeState.USED, NodeState.HOLD, *_SWEPT),
    NodeState.USED: (NodeState.HOLD, *_SWEPT),
    NodeState.HOLD: (NodeState.USED, *_SWEPT),
    NodeState.FAILED: (NodeState.HOLD, *_SWEPT),
    NodeState.ABORTED: _SWEPT,
    NodeState.DELETING: (NodeState.DELETED,),
    NodeState.DELETED: (),
}
"""From a state (None: no record yet) to the states that may follow, whoever writes them."""

REQUEST_TRANSITIONS: Mapping[RequestState | None, tuple[RequestState, ...]] = {
    None: (RequestState.REQUESTED,),
    RequestState.REQUESTED: (RequestState.PENDING, RequestState.FAILED),
    RequestState.PENDING: (RequestState.FULFILLED, RequestState.REQUESTED, RequestState.FAILED),
    RequestState.FULFILLED: (),
    RequestState.FAILED: (),
}

BUILD_TRANSITIONS: Mapping[BuildState | None, tuple[BuildState, ...]] = {
    None: (BuildState.BUILDING,),
    BuildState.BUILDING: (BuildState.READY, BuildState.FAILED, BuildState.DELETING),
    BuildState.READY: (BuildState.DELETING,),
    BuildState.FAILED: (BuildState.DELETING,),
    BuildState.DELETING: (),
}

UPLOAD_TRANSITIONS: Mapping[UploadState | None, tuple[UploadState, ...]] = {
    None: (UploadState.UPLOADING,),
    UploadState.UPLOADING: (UploadState.READY, UploadState.FAILED, UploadState.DELETING),
    UploadState.READY: (UploadState.DELETING,),
    UploadState.FAILED: (UploadState.DELETING,),
    UploadState.DELETING: (),
}

_TABLES: Mapping[type[StrEnum], Mapping[StrEnum | None, tuple[StrEnum, ...]]] = {
    NodeState: NODE_TRANSITIONS,  # type: ignore[dict-item]
    RequestState: REQUEST_TRANSITIONS,  # type: ignore[dict-item]
    BuildState: BUILD_TRANSITIONS,  # type: ignore[dict-item]
    UploadState: UPLOAD_TRANSITIONS,  # type: ignore[dict-item]
}


def may_follow(old: StrEnum | None, new: StrEnum) -> bool:
    """Whether a record in ``old`` (None: no record) may be written with ``new``. Staying is always allowed."""
    return old == new or new in _TABLES[type(new)][old]


def check_transition(old: StrEnum | None, new: StrEnum) -> None:
    """Raise :class:`IllegalTransition` unless ``new`` may follow ``old``."""
    if not may_follow(old, new):
        raise IllegalTransition(f"a {type(new).__name__} may not go from {old} to {new}")


GARBAGE_WHEN_UNLOCKED = frozenset(
    {
        NodeState.BUILDING,
        NodeState.IN_USE,
        NodeState.USED,
        NodeState.FAILED,
        NodeState.ABORTED,
        NodeState.DELETING,
        NodeState.DELETED,
    }
)
"""An unlocked node in one of these states belongs to nobody: delete it (spec zookeeper 5.2)."""
