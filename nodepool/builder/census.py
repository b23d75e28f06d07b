"""What a builder sees and does at one moment, for the metrics. Runs on the decision thread; no I/O."""

from __future__ import annotations

from nodepool.builder.setup import Setup
from nodepool.builder.state import State
from nodepool.daemon.events import CensusAsked
from nodepool.telemetry.facts import Activity, BuilderCensus


def take(state: State, asked: CensusAsked) -> None:
    """Tell the metrics what is seen; nothing while the mirror is not in step, for then it is not to be relied on."""
    if state.setup is None or not state.working:
        return
    state.measure(
        BuilderCensus(
            lag=max(state.now - asked.asked, 0.0),
            build_requests={image: image in state.mirror.build_requests for image in state.setup.images},
            builds=_builds(state, state.setup),
            uploads=_uploads(state, state.setup),
            current_builds=len(state.builds),
            current_uploads=len(state.uploads),
            build_workers=state.build_workers,
            upload_workers=state.upload_workers,
        )
    )


def _builds(state: State, setup: Setup) -> dict[str, Activity]:
    building = {image for image, _ in state.builds}
    paused = state.mirror.paused_images | {name for name, image in setup.images.items() if image.pause}
    return {image: _activity(image in paused, image in building, Activity.BUILDING) for image in setup.images}


def _uploads(state: State, setup: Setup) -> dict[tuple[str, str], Activity]:
    running = {(image, provider) for image, _, provider, _ in state.uploads}
    found = {}
    for name, provider in setup.providers.items():
        for image in setup.images:
            entry = provider.image(image)
            if entry is not None:
                found[image, name] = _activity(entry.pause, (image, name) in running, Activity.UPLOADING)
    return found


def _activity(paused: bool, busy: bool, work: Activity) -> Activity:
    if paused:
        return Activity.PAUSED
    return work if busy else Activity.IDLE
