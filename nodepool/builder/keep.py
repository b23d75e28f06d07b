"""Keep-last-good: which builds and uploads must not go (spec builder 5). Pure.

Two ready builds of a wanted image, and two ready uploads of it per provider, whatever came after them. What failed, is
in progress or is being deleted is never counted, so that no sequence of failures can displace what works.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from nodepool.builder.view import BuildView, UploadView
from nodepool.model.states import BuildState, UploadState
from nodepool.zk.mirror import UploadKey

Dated = TypeVar("Dated", BuildView, UploadView)

COUNT = 2
"""How many are kept: the newest, and one to fall back to."""


class Listing(Enum):
    """What a provider has to do with an image."""

    WANTED = "some builder's configuration lists the image for the provider"
    OBSOLETE = "the provider is ours, and nobody lists the image for it"
    FOREIGN = "the provider is not in our configuration"


@dataclass(frozen=True, slots=True)
class Kept:
    """What must stay."""

    builds: frozenset[str]
    uploads: frozenset[UploadKey]


def keep(builds: Collection[BuildView], wanted: bool, listing: Callable[[str], Listing]) -> Kept:
    """What must stay of the builds of an image.

    ``wanted`` is whether any builder's configuration has the image; ``listing`` tells of each provider.
    """
    ready = [build for build in builds if build.state is BuildState.READY]
    kept = _newest(ready) if wanted else []
    uploads: set[UploadKey] = set()
    for provider in {upload.provider for build in builds for upload in build.uploads}:
        of_provider = [upload for build in ready for upload in build.uploads if upload.provider == provider]
        match listing(provider):
            case Listing.WANTED if wanted:
                good = [upload for upload in of_provider if upload.state is UploadState.READY]
                uploads.update(upload.key for upload in _newest(good))
            case Listing.FOREIGN:
                everything = (upload for build in builds for upload in build.uploads)
                uploads.update(upload.key for upload in everything if upload.provider == provider)
    return Kept(frozenset(build.id for build in kept), frozenset(uploads))


def newest_ready_upload(builds: Iterable[BuildView], provider: str) -> UploadView | None:
    """The upload from which launchers boot."""
    ready = [
        upload
        for build in builds
        for upload in build.uploads
        if upload.provider == provider and upload.state is UploadState.READY
    ]
    return max(ready, key=lambda upload: (upload.time, upload.key), default=None)


def _newest(candidates: Sequence[Dated]) -> list[Dated]:
    return sorted(candidates, key=lambda one: (one.time, _name(one)), reverse=True)[:COUNT]


def _name(one: BuildView | UploadView) -> tuple[str, ...]:
    """Decides between those of one time."""
    return (one.id,) if isinstance(one, BuildView) else one.key
