"""Safeties of the builder, and of a launcher beside it, that can be switched off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from nodepool.builder import cleaning, removing, uploading, views
from nodepool.builder.keep import Kept
from nodepool.builder.state import State
from nodepool.builder.steps import MarkUpload
from nodepool.builder.view import ImageView, UploadView
from nodepool.driver.adapter import LabelSettings
from nodepool.launcher import images
from nodepool.launcher.images import Image
from nodepool.model.states import UploadState
from nodepool.zk import paths
from nodepool.zk.contenders import PREFIX_END
from nodepool.zk.mirror import Mirror
from nodepool.zk.store import Create, Operation
from tests.simulation.builders.clouds import ImageCloud
from tests.simulation.launchers.mutations import LEFTOVERS
from tests.simulation.mutations import FENCING, Mutation, replaced

_mark, _image_of = removing._mark_upload, views.image_of


def _hide_tags(cloud: ImageCloud) -> ImageCloud:
    cloud.find = lambda *_: []  # type: ignore[method-assign]
    return cloud


def _mark_anyway(state: State, step: MarkUpload) -> None:
    _mark(state, replace(step, instead=None))


def _contend(state: State, directory: str) -> tuple[Operation, ...]:
    """A contender of ours, whoever else may have the lock."""
    missing = () if directory in state.tree else (Create(directory),)
    return (*missing, Create(f"{directory}/{state.prefix}{PREFIX_END}", ephemeral=True, sequence=True))


def _any_lock(state: State, directory: str) -> str | None:
    ours = [one for one in state.tree.contenders(directory) if one.startswith(f"{state.prefix}{PREFIX_END}")]
    return f"{directory}/{ours[0]}" if ours and state.prefix else None


def _see_own_locks(state: State, name: str) -> ImageView:
    """An image without the locks that others have."""
    image = _image_of(state, name)
    builds = (replace(one, uploading=one.our_uploading, uploads=_unlocked(one.uploads)) for one in image.builds)
    return replace(image, locked=image.ours, builds=tuple(builds))


def _unlocked(uploads: Iterable[UploadView]) -> tuple[UploadView, ...]:
    return tuple(replace(one, locked=one.ours) for one in uploads)


@contextmanager
def _without_locks() -> Iterator[None]:
    with (
        replaced(State, "hold", _contend)(),
        replaced(State, "our_lock", _any_lock)(),
        replaced(views, "image_of", _see_own_locks)(),
    ):
        yield


def _oldest(mirror: Mirror, provider: str, label: LabelSettings) -> Image | None:
    """The oldest good upload."""
    good = [
        (entry.record.state_time or 0.0, key, entry.record.external_id)
        for key, entry in mirror.uploads.items()
        if entry.record is not None and entry.record.state is UploadState.READY
    ]
    fitting = sorted(one for one in good if one[1][0] == label.diskimage and one[1][2] == provider)
    return next((Image(paths.upload(*key), external_id, key) for _, key, external_id in fitting), None)


MUTATIONS = {
    "fencing": FENCING,
    "tags": Mutation("the look for images of uploads whose end nobody knows", cloud=_hide_tags),
    "keeping": Mutation(
        "what is kept, whatever comes", patch=replaced(cleaning, "keep", lambda *_: Kept(frozenset(), frozenset()))
    ),
    "instead": Mutation(
        "the check that a newer upload is still there", patch=replaced(removing, "_mark_upload", _mark_anyway)
    ),
    "locks": Mutation("locks of images, builds and uploads", patch=_without_locks),
    "grace": Mutation("the minute for which unlocked work is left alone", patch=replaced(cleaning, "GRACE", 0.0)),
    "strays": Mutation(
        "the removal of images without record", patch=replaced(uploading, "_remove_stray", lambda *_: None)
    ),
    "leftovers": LEFTOVERS,
    "newest": Mutation("that launchers boot from the newest upload", patch=replaced(images, "of_label", _oldest)),
}
