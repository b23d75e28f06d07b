"""What a cloud is asked for when a server is to be made (spec launcher 3.1).

Runs on the decision thread; no I/O.
"""

from __future__ import annotations

from nodepool.driver.adapter import ATTEMPT_TAG, NODE_TAG, POOL_TAG, PROVIDER_TAG, ServerOrder
from nodepool.launcher import zones
from nodepool.launcher.images import Image
from nodepool.launcher.lifecycle import Launch
from nodepool.launcher.state import State
from nodepool.model.request import NodeRequest

BAD_LUCK = 3
"""By how much attempts are multiplied while other machines of the label come up."""


def of_launch(launch: Launch, image: Image, request: NodeRequest | None) -> ServerOrder:
    """The order for the present attempt of a launch."""
    tags = {
        NODE_TAG: launch.node_id,
        POOL_TAG: launch.pool,
        PROVIDER_TAG: launch.provider,
        ATTEMPT_TAG: str(launch.attempt),
    }
    return ServerOrder(
        node_id=launch.node_id,
        hostname=f"np{launch.node_id}",
        pool=launch.pool,
        label=launch.label.name,
        tags=tags,
        image_external_id=image.external_id,
        az=launch.zone,
        request=_request_fields(request),
    )


def extra_attempts(state: State, launch: Launch) -> int:
    """More attempts for a launch with bad luck: where machines of its label come up meanwhile, the label is good."""
    retries = launch.limits.launch_retries
    came_up = state.offerings.last_passed(launch.provider, launch.label.name)
    return retries * (BAD_LUCK - 1) if retries > 1 and came_up > launch.began else 0


def zone(state: State, launch: Launch) -> str | None:
    """The zone of the request. One that refused is left if no other node of the request binds us to it."""
    claim = state.claims.get(launch.request_id)
    pool = state.setup.pool_of(launch.provider, launch.pool)
    if claim is None:
        return None
    if launch.attempt > 1 and len(claim.slots) == 1 and pool is not None:
        labels = [launch.label.name]
        if zones.closed_until(state, pool, labels, claim.zone) > state.now:
            closed_until, chosen = zones.choose(state, pool, labels, None)
            claim.zone = claim.zone if closed_until else chosen
    return claim.zone


def _request_fields(request: NodeRequest | None) -> dict[str, object]:
    if request is None:
        return {}
    return {
        "id": request.id,
        "labels": list(request.node_types),
        "requestor": request.requestor,
        "requestor_data": request.requestor_data,
        "relative_priority": request.relative_priority,
        "event_id": request.event_id,
        "created_time": request.created_time,
        "tenant_name": request.tenant_name,
    }
