"""What a request waits for, in one sentence. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from nodepool.model.component import Component
from nodepool.model.request import NodeRequest
from nodepool.model.states import RequestState


def why_waiting(request: NodeRequest, pools: Sequence[Component]) -> str:
    """What a request waits for, in words."""
    declined = [pool for pool in pools if pool.id in request.declined_by]
    able = [pool for pool in pools if set(request.node_types) <= set(pool.supported_labels)]
    left = [pool for pool in able if pool not in declined]
    parts = []
    if request.state is RequestState.PENDING:
        parts.append("is pending: a launcher has taken it and prepares its nodes")
    elif request.state is RequestState.FAILED:
        parts.append("no pool could serve it")
    elif left:
        parts.append(f"waits for {' or '.join(sorted(map(_pool_text, left)))}")
    else:
        parts.append("waits: no launcher that could serve it is running")
    if request.declined_by:
        names = sorted(f"{pool.provider_name}/{pool.name}" for pool in declined)
        gone = len(request.declined_by) - len(declined)
        names += [f"{gone} that {'is' if gone == 1 else 'are'} gone"] if gone > 0 else []
        parts.append(f"declined by {', '.join(names)}")
    return "; ".join(parts)


def _pool_text(pool: Component) -> str:
    full = " (paused: no room, or its cloud does not answer)" if pool.paused else ""
    return f"{pool.provider_name}/{pool.name}{full}"
