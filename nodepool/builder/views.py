"""Looks up what a plan is made from: an image in the mirror, what the configurations say of it, and what is here.

Runs on the decision thread; no I/O.
"""

from __future__ import annotations

from nodepool.builder.draft import Here, Rule
from nodepool.builder.state import State
from nodepool.builder.view import BuildView, ImageView, UploadView
from nodepool.model.states import BuildState, UploadState
from nodepool.zk import paths
from nodepool.zk.mirror import UploadKey


def image_of(state: State, name: str) -> ImageView:
    """An image as ZooKeeper has it."""
    lock = paths.image_lock(name)
    locked = bool(state.tree.contenders(lock))
    ids = [build_id for build_id in state.tree.children(paths.builds(name)) if build_id != paths.LOCK]
    return ImageView(
        name=name,
        known=paths.image(name) in state.tree,
        paused=name in state.mirror.paused_images,
        requested=state.mirror.build_requests.get(name),
        locked=locked,
        ours=state.our_lock(lock) is not None,
        builds=tuple(_build(state, name, build_id, locked) for build_id in ids),
    )


def rule_of(state: State, name: str) -> Rule:
    """What the configurations say of an image."""
    setup = state.setup
    if setup is None:
        return Rule()
    return Rule(
        image=setup.images.get(name),
        formats=setup.formats(name),
        incomplete=any(name not in provider.formats for provider in setup.listing(name)),
        providers=setup.providers,
        elsewhere=state.others.listing(name),
        changed=state.changed.get(("image", name), 0.0),
        providers_changed={one: state.changed.get(("provider", one), 0.0) for one in setup.providers},
        strangers=state.others.strangers,
    )


def here_of(state: State, name: str) -> Here:
    """What we have of an image, and do about it."""
    return Here(
        builder_id=state.builder_id,
        files=None if state.files is None else state.files.get(name, {}),
        building=frozenset(build_id for image, build_id in state.builds if image == name),
        uploading=frozenset(key for key in state.uploads if key[0] == name),
        spared=frozenset(build for image, build in state.spared if image == name),
    )


def _build(state: State, image: str, build_id: str, image_locked: bool) -> BuildView:
    entry = state.mirror.builds.get((image, build_id))
    providers = state.tree.children(paths.build_providers(image, build_id))
    locks = {provider: paths.uploads_lock(image, build_id, provider) for provider in providers}
    uploading = frozenset(provider for provider in providers if state.tree.contenders(locks[provider]))
    record = entry.record if entry else None
    idle = record is not None and record.state is BuildState.BUILDING and not image_locked
    orphaned = record is not None and not state.others.strangers and not _has_builder(state, record.builder_id)
    return BuildView(
        id=build_id,
        record=record,
        empty=entry is not None and entry.empty,
        created=entry.ctime if entry else 0.0,
        locked=bool(state.tree.contenders(paths.build_lock(image, build_id))),
        uploads=tuple(
            _upload(state, (image, build_id, provider, upload_id), provider in uploading)
            for provider in providers
            for upload_id in state.tree.children(paths.uploads(image, build_id, provider))
            if upload_id != paths.LOCK
        ),
        uploading=uploading,
        our_uploading=frozenset(provider for provider in uploading if state.our_lock(locks[provider])),
        idle_since=_noticed(state, ("build", image, build_id), idle),
        orphaned_since=_noticed(state, ("orphan", image, build_id), orphaned),
    )


def _upload(state: State, key: UploadKey, uploading: bool) -> UploadView:
    entry = state.mirror.uploads.get(key)
    lock = paths.upload_lock(*key)
    record = entry.record if entry else None
    idle = record is not None and record.state is UploadState.UPLOADING and not uploading
    return UploadView(
        key=key,
        record=record,
        empty=entry is not None and entry.empty,
        locked=bool(state.tree.contenders(lock)),
        ours=state.our_lock(lock) is not None,
        idle_since=_noticed(state, ("upload", *key), idle),
    )


def _has_builder(state: State, builder_id: str | None) -> bool:
    return builder_id in (state.builder_id, *(other.builder_id for other in state.others.known))


def _noticed(state: State, key: tuple[str, ...], now: bool) -> float | None:
    """Since when something is so, None if it is not."""
    if now:
        return state.since(key)
    state.noticed.pop(key, None)
    return None
