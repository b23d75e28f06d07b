"""What of an image is to be removed: records, uploads and files that nothing needs (spec builder 5). Pure.

Provider images go before upload records, upload records before the build record, local files as soon as nothing needs
them. What is in progress is never touched.
"""

from __future__ import annotations

from nodepool.builder import backoff
from nodepool.builder.draft import Draft
from nodepool.builder.keep import Kept, Listing, keep, newest_ready_upload
from nodepool.builder.reasons import RemovalReason
from nodepool.builder.steps import (
    DeleteFiles,
    DeleteUpload,
    EraseBuild,
    EraseImage,
    EraseUpload,
    MarkBuild,
    MarkUpload,
)
from nodepool.builder.view import BuildView, UploadView
from nodepool.model.states import BuildState, UploadState

GRACE = 60.0
"""Seconds for which work of another builder may be unlocked before it counts as given up: with ZooKeeper, all builders
lose their locks at once, and each takes its own again. Work of ours that we know nothing of is given up at once."""
BUILDER_ID = "builder_id"
"""Additional key of an upload's record: whose it is, as in that of a build."""


def remove_records(draft: Draft) -> None:
    """Uploads, builds, and in the end the image itself."""
    image, rule = draft.image, draft.rule
    kept = keep(image.builds, rule.wanted, lambda provider: rule.of_provider(image.name, provider))
    for build in image.builds:
        for upload in build.uploads:
            if upload.key not in draft.here.uploading:
                _remove_upload(draft, kept, build, upload)
        if build.id not in draft.here.building:
            _remove_build(draft, kept, build)
    if image.known and not image.builds and not image.locked and not rule.wanted and not rule.strangers:
        draft.add(EraseImage())


# Uploads


def _remove_upload(draft: Draft, kept: Kept, build: BuildView, upload: UploadView) -> None:
    if upload.empty:
        if not upload.locked:
            draft.add(EraseUpload(upload.key))
        return
    if upload.provider not in draft.rule.providers:
        return
    if upload.state is UploadState.DELETING:
        if upload.ours or not upload.locked:
            draft.add(DeleteUpload(upload.key))
        return
    reason = _why_upload_goes(draft, kept, build, upload)
    if reason is not None and not upload.locked:
        instead = None
        if reason is RemovalReason.SURPLUS:
            newest = newest_ready_upload(draft.image.in_state(BuildState.READY), upload.provider)
            instead = newest.key if newest is not None and newest.key != upload.key else None
            if instead is None:
                return
        draft.add(MarkUpload(upload.key, reason, instead))


def _why_upload_goes(draft: Draft, kept: Kept, build: BuildView, upload: UploadView) -> RemovalReason | None:
    match upload.state:
        case UploadState.UPLOADING:
            return RemovalReason.ORPHANED if _is_abandoned(draft, upload) else None
        case UploadState.FAILED if upload.provider not in build.uploading:
            lasts = build.id in kept.builds and _tells_of_a_failure(draft, build, upload)
            return None if lasts else RemovalReason.FAILED
        case UploadState.READY if upload.key not in kept.uploads:
            return _why_ready_upload_goes(draft, kept, build, upload)
    return None


def _why_ready_upload_goes(draft: Draft, kept: Kept, build: BuildView, upload: UploadView) -> RemovalReason | None:
    if build.state is BuildState.DELETING:
        return RemovalReason.BUILD_GOES
    if not draft.rule.wanted:
        return RemovalReason.NOT_WANTED
    if draft.rule.of_provider(draft.image.name, upload.provider) is Listing.OBSOLETE:
        return RemovalReason.NOT_LISTED
    return RemovalReason.SURPLUS if build.id not in kept.builds and build.state is BuildState.READY else None


def _is_abandoned(draft: Draft, upload: UploadView) -> bool:
    if upload.idle_since is None:
        return False
    own = upload.record is not None and upload.record.extra.get(BUILDER_ID) == draft.here.builder_id
    return own or _grace_is_over(draft, upload.idle_since)


def _grace_is_over(draft: Draft, since: float) -> bool:
    if draft.now < since + GRACE:
        draft.look_at(since + GRACE)
        return False
    return True


def _tells_of_a_failure(draft: Draft, build: BuildView, upload: UploadView) -> bool:
    """Whether a failed upload has to stay because its record says when to try again; its image must be gone."""
    if upload.record is None or upload.record.external_id is not None or not backoff.read(upload.record).failures:
        return False
    if draft.rule.of_provider(draft.image.name, upload.provider) is not Listing.WANTED:
        return False
    newer = (other for other in build.uploads if other.provider == upload.provider and other.key > upload.key)
    ready = draft.image.in_state(BuildState.READY)
    superseded = any(upload.provider in (one.provider for one in other.uploads) for other in _before(ready, build))
    return build in ready and not superseded and not any(newer)


def _before(builds: list[BuildView], build: BuildView) -> list[BuildView]:
    return builds[: builds.index(build)] if build in builds else builds


# Builds


def _remove_build(draft: Draft, kept: Kept, build: BuildView) -> None:
    if build.empty or build.state is BuildState.DELETING:
        if not build.uploads and not build.locked and not build.uploading:
            draft.add(EraseBuild(build.id))
        return
    reason = _why_build_goes(draft, kept, build)
    if reason is not None and not build.locked and _holds_nothing(build):
        draft.add(MarkBuild(build.id, reason))


def _holds_nothing(build: BuildView) -> bool:
    """Whether all uploads of a build are on their way out already."""
    return not build.uploading and all(upload.state is UploadState.DELETING for upload in build.uploads)


def _why_build_goes(draft: Draft, kept: Kept, build: BuildView) -> RemovalReason | None:
    match build.state:
        case BuildState.BUILDING:
            return RemovalReason.ORPHANED if _is_given_up(draft, build) else None
        case BuildState.FAILED:
            return None if draft.rule.wanted and _is_last_failure(draft, build) else RemovalReason.FAILED
        case BuildState.READY if build.id not in kept.builds:
            return RemovalReason.SURPLUS if draft.rule.wanted else RemovalReason.NOT_WANTED
    return None


def _is_given_up(draft: Draft, build: BuildView) -> bool:
    """Whether nobody works on a build any more. At most one per image is in progress, the newest: it has the lock."""
    in_progress = draft.image.in_state(BuildState.BUILDING)
    newest = max(in_progress, key=lambda one: (one.created, one.id))
    if draft.is_own(build):
        return not draft.image.locked or draft.image.ours or newest is not build
    if draft.image.locked:
        return newest is not build
    return build.idle_since is not None and _grace_is_over(draft, build.idle_since)


def _is_last_failure(draft: Draft, build: BuildView) -> bool:
    """Whether a failed build has to stay because its record says when to try again."""
    failed, ready = draft.image.in_state(BuildState.FAILED), draft.image.in_state(BuildState.READY)
    return failed[0] is build and not (ready and ready[0].time > build.time)


# Files


def remove_files(draft: Draft) -> None:
    """Files of builds that are gone or going, and formats that every provider has got."""
    for build_id, formats in (draft.here.files or {}).items():
        if build_id in draft.here.building:
            continue
        build = draft.image.build(build_id)
        if build is None or build.empty:
            if build_id not in draft.here.spared:
                draft.add(DeleteFiles(build_id, None, RemovalReason.NO_RECORD))
        elif build.state in (BuildState.DELETING, BuildState.FAILED):
            draft.add(DeleteFiles(build_id, None, RemovalReason.BUILD_GOES))
        elif build.state is BuildState.READY:
            done = tuple(one for one in formats if _is_uploaded(draft, build, one))
            if done:
                draft.add(DeleteFiles(build_id, done, RemovalReason.UPLOADED))


def _is_uploaded(draft: Draft, build: BuildView, image_format: str) -> bool:
    """Whether a format can go after the uploads, and they are done (``delete-after-upload``).

    A provider that has a newer build than this one does not need it either: only the newest is ever uploaded. A format
    that no provider takes goes when all of them have the image.
    """
    image, rule = draft.image, draft.rule
    settings = rule.image
    if settings is None or not settings.delete_after_upload or image_format in settings.keep_formats:
        return False
    listing = rule.listing(image.name)
    takers = [provider for provider in listing if provider.formats.get(image.name) == image_format] or listing
    if not takers or rule.incomplete:
        return False
    as_new = [one for one in image.in_state(BuildState.READY) if one.time >= build.time]
    return all(newest_ready_upload(as_new, provider.name) is not None for provider in takers)
