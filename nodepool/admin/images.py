"""What an operator orders about disk images: build, pause, delete (spec cli 2, builder 9).

A record is changed under its lock and with the version that was read, so that a builder, one of Nodepool 11 included,
never overwrites the order without having seen it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from typing import TypeVar

from nodepool.admin.failure import CommandFailed
from nodepool.admin.image_views import build_request
from nodepool.admin.locking import LOCK_WAIT, contender_path
from nodepool.admin.nodes import Clock
from nodepool.admin.snapshot import is_name, snapshot
from nodepool.admin.table import printable
from nodepool.model.image import ImageBuild, ImageUpload
from nodepool.model.record import Record
from nodepool.model.states import BuildState, UploadState
from nodepool.zk import paths
from nodepool.zk.client import Client, LockLost, LockTimeout, RecordMissing, TransactionRefused
from nodepool.zk.mirror import Entry, Mirror, UploadKey
from nodepool.zk.store import Check, Contended, Create, Delete, RefusedBy, SetData

_ATTEMPTS = 5
R = TypeVar("R", bound=Record)


def ask_for_build(client: Client, image: str) -> bool:
    """Have a builder build the image now; False if one is at it since that was asked for.

    If it was asked for and no build runs, it is asked for anew: after a failure only a later request is heard at once.
    """
    flag = paths.build_request(image)
    for _ in range(_ATTEMPTS):
        if _raise_flag(client, image, flag):
            return True
        if build_request(snapshot(client, paths.image(image)), image) == "building":
            return False
        with contextlib.suppress(TransactionRefused):
            client.commit([Delete(flag), Create(flag)])
            return True
    raise CommandFailed(f"The request to build {image} is changed all the time by somebody else; try again")


def pause(client: Client, image: str, configured: Collection[str]) -> None:
    """Stop builds of an image. Raises :class:`CommandFailed` if neither ZooKeeper nor the configuration knows it."""
    _check_known(client, image, configured)
    _raise_flag(client, image, paths.image_pause(image))


def unpause(client: Client, image: str, configured: Collection[str]) -> None:
    """Allow builds of an image. Raises :class:`CommandFailed` as :func:`pause` does."""
    _check_known(client, image, configured)
    try:
        client.commit([Delete(paths.image_pause(image))])
    except TransactionRefused as error:
        if error.refused.reason is not RefusedBy.NO_NODE:
            raise


def is_paused(client: Client, image: str) -> bool:
    """Whether builds of an image were stopped by command."""
    return image in snapshot(client, paths.image_pause(image)).paused_images


def delete_upload(client: Client, key: UploadKey, who: str, clock: Clock) -> None:
    """Have the builders delete an upload."""
    if not all(map(is_name, key)):
        raise CommandFailed("Image upload not found")
    path = paths.upload(*key)

    def decide(mirror: Mirror) -> tuple[ImageUpload, int] | None:
        upload, version = _readable(mirror.uploads.get(key), path, "Image upload not found")
        if upload.state is UploadState.UPLOADING:
            raise CommandFailed("Cannot delete because image upload in progress")
        if upload.state is UploadState.DELETING:
            return None
        return upload.in_state(UploadState.DELETING, clock()), version

    _change(client, path, f"Upload {key[3]}", who, decide)


def delete_build(client: Client, image: str, build_id: str, who: str, clock: Clock) -> None:
    """Have the builders delete a build: its files and all its uploads."""
    name = printable(f"{image}-{build_id}")
    if not is_name(image) or not is_name(build_id):
        raise CommandFailed(f"Build {name} not found")
    path = paths.build(image, build_id)

    def decide(mirror: Mirror) -> tuple[ImageBuild, int] | None:
        build, version = _readable(mirror.builds.get((image, build_id)), path, f"Build {name} not found")
        if build.state is BuildState.BUILDING:
            raise CommandFailed(f"Cannot delete a build in progress (of {name}, on {build.builder or 'some builder'})")
        if build.state is BuildState.DELETING:
            return None
        return build.in_state(BuildState.DELETING, clock()), version

    _change(client, path, f"Build {name}", who, decide)


Decision = tuple[ImageBuild, int] | tuple[ImageUpload, int] | None


def _change(client: Client, path: str, name: str, who: str, decide: Callable[[Mirror], Decision]) -> None:
    """Write what ``decide`` makes of the record at ``path``, with its version; None: nothing is to be written.

    It is asked before the lock is taken and again under it, and raises :class:`CommandFailed` to refuse.
    """
    if decide(snapshot(client, path)) is None:
        return
    with contextlib.ExitStack() as stack:
        held = _lock(stack, client, path, name, who)
        for _ in range(_ATTEMPTS):
            decision = decide(snapshot(client, path))
            if decision is None or _write(client, held, path, name, *decision):
                return
    raise CommandFailed(f"{name} is changed all the time by somebody who does not lock it; try again")


def _lock(stack: contextlib.ExitStack, client: Client, path: str, name: str, who: str) -> Contended:
    try:
        return stack.enter_context(client.lock(f"{path}/{paths.LOCK}", who.encode(), LOCK_WAIT))
    except RecordMissing:
        raise CommandFailed(f"{name} went away meanwhile") from None
    except LockLost:
        raise CommandFailed(f"{name} went away while its lock was awaited") from None
    except LockTimeout as error:
        raise CommandFailed(
            f"{name} is locked by {printable(error.holder)} and was not unlocked within {LOCK_WAIT:g} s: a builder is "
            "at work on it; nothing was changed (try again)"
        ) from None


def _write(
    client: Client, held: Contended, path: str, name: str, record: ImageBuild | ImageUpload, version: int
) -> bool:
    """False if the record was changed meanwhile: read again, decide again."""
    try:
        client.commit([Check(contender_path(held)), SetData(path, record.to_json(), version)])
    except TransactionRefused as error:
        if error.refused.reason is RefusedBy.BAD_VERSION:
            return False
        raise CommandFailed(f"{name}: the lock was lost before the record was written; try again") from None
    return True


def _readable(entry: Entry[R] | None, path: str, missing: str) -> tuple[R, int]:
    if entry is None:
        raise CommandFailed(missing)
    if entry.record is None:
        advice = "a builder removes such a leftover" if entry.empty else f"correct or remove {path} by hand"
        raise CommandFailed(f"{path} cannot be read: {printable(entry.problem)}; it is left alone ({advice})")
    return entry.record, entry.version


def _check_known(client: Client, image: str, configured: Collection[str]) -> None:
    if image not in configured and (not is_name(image) or image not in snapshot(client, paths.image(image)).images):
        raise CommandFailed(f"Image {printable(image)} not found: neither ZooKeeper nor this configuration knows it")


def _raise_flag(client: Client, image: str, path: str) -> bool:
    """Create a flag; False if it is there already. A builder may remove what is left of an image meanwhile."""
    for _ in range(_ATTEMPTS):
        client.ensure(paths.image(image))
        try:
            client.commit([Create(path)])
        except TransactionRefused as error:
            if error.refused.reason is RefusedBy.NODE_EXISTS:
                return False
            if error.refused.reason is not RefusedBy.NO_NODE:
                raise
        else:
            return True
    raise CommandFailed(f"Image {image} is removed from ZooKeeper all the time by somebody; try again")
