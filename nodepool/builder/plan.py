"""What is to be done about one disk image: build, upload, keep, remove. Pure.

Level-triggered: the answer follows from the records, the files that are here and the configuration, not from what has
happened. Who does it and when there is a worker for it is decided elsewhere; each step is made under a lock or with the
version seen here.
"""

from __future__ import annotations

from nodepool.builder import backoff, cleaning
from nodepool.builder.draft import Draft, Here, Rule
from nodepool.builder.keep import newest_ready_upload
from nodepool.builder.reasons import BuildReason, UploadReason
from nodepool.builder.setup import ProviderSetup
from nodepool.builder.steps import Build, ClearRequest, DropLock, LockBuild, LockUpload, Plan, Upload
from nodepool.builder.view import BuildView, ImageView, UploadView
from nodepool.model.states import BuildState, UploadState
from nodepool.zk import paths

ORPHANED_AFTER = 600.0
"""Seconds for which a builder may be away until others do its work again: to be restarted, or moved."""


def plan(image: ImageView, rule: Rule, here: Here, now: float) -> Plan:
    """The plan for an image at ``now`` (epoch). The steps are in the order in which they should be taken."""
    draft = Draft(image, rule, here, now)
    _see_to_locks(draft)
    cleaning.remove_records(draft)
    cleaning.remove_files(draft)
    if rule.image is not None:
        _build(draft)
        _upload(draft)
    return draft.plan()


# Locks


def _see_to_locks(draft: Draft) -> None:
    """Take locks again that a lost session has cost us, and drop those that nothing needs."""
    image, here = draft.image, draft.here
    if image.ours and not here.building:
        draft.add(DropLock(paths.image_lock(image.name)))
    for build in image.builds:
        if build.id in here.building and build.state is BuildState.BUILDING and not image.locked:
            draft.add(LockBuild(build.id))
        at_work = {key[2] for key in here.uploading if key[1] == build.id}
        for provider in sorted(build.our_uploading - at_work):
            draft.add(DropLock(paths.uploads_lock(image.name, build.id, provider)))
        for upload in build.uploads:
            _see_to_locks_of_upload(draft, build, upload)


def _see_to_locks_of_upload(draft: Draft, build: BuildView, upload: UploadView) -> None:
    if upload.ours and upload.state is not UploadState.DELETING:
        draft.add(DropLock(paths.upload_lock(*upload.key)))
    unlocked = upload.provider not in build.uploading
    if upload.key in draft.here.uploading and upload.state is UploadState.UPLOADING and unlocked:
        draft.add(LockUpload(upload.key))


# Building


def _build(draft: Draft) -> None:
    """Whether the image is to be built (spec builder 3.1)."""
    image, rule = draft.image, draft.rule
    assert rule.image is not None
    served = any(build.created >= (image.requested or 0.0) for build in image.in_state(BuildState.READY))
    if image.requested is not None and served:
        draft.add(ClearRequest())
    if image.paused or rule.image.pause or not rule.formats or rule.incomplete:
        return
    if image.locked or draft.here.building or _somebody_may_still_build(draft):
        return
    failed = _failure(image)
    back_off = backoff.read(failed.record if failed else None)
    asked_again = image.requested is not None and not served and image.requested > (failed.time if failed else 0.0)
    reason = BuildReason.BY_HAND if image.requested is not None and not served else _need(draft)
    if reason is None:
        return
    mended = failed is not None and failed.time < rule.changed
    if back_off.retry_at > draft.now and not asked_again and not mended:
        draft.look_at(back_off.retry_at)
        return
    last_attempt = max((build.time for build in image.builds), default=0.0)
    draft.add(Build(reason, back_off.failures, last_attempt))


def _failure(image: ImageView) -> BuildView | None:
    """The build that has failed, if none was good since."""
    failed, ready = image.in_state(BuildState.FAILED), image.in_state(BuildState.READY)
    return failed[0] if failed and not (ready and ready[0].time > failed[0].time) else None


def _somebody_may_still_build(draft: Draft) -> bool:
    """Whether a build is in progress whose builder may come back: it has lost its session, as we may have."""
    for build in draft.image.in_state(BuildState.BUILDING):
        if build.idle_since is not None and not draft.is_own(build):
            end = build.idle_since + cleaning.GRACE
            if draft.now < end:
                draft.look_at(end)
                return True
    return False


def _need(draft: Draft) -> BuildReason | None:
    """Why a build is due without anybody asking for it."""
    image, rule = draft.image, draft.rule
    assert rule.image is not None
    ready = image.in_state(BuildState.READY)
    if not ready:
        return BuildReason.MISSING
    fitting = [build for build in ready if set(rule.formats) <= set(build.record.formats if build.record else ())]
    if not fitting:
        return BuildReason.FORMATS
    due = fitting[0].time + rule.image.rebuild_age
    if draft.now >= due:
        return BuildReason.TOO_OLD
    draft.look_at(due)
    return BuildReason.FILES_GONE if _files_are_missed(draft, fitting[0]) else None


def _files_are_missed(draft: Draft, newest: BuildView) -> bool:
    """Whether a provider has no image at all, and cannot get one since the files are gone, or the builder with them."""
    image, files = draft.image, draft.here.files
    if files is None or not (draft.is_own(newest) or _is_orphaned(draft, newest)):
        return False
    for provider in draft.rule.listing(image.name):
        image_format, entry = provider.formats.get(image.name), provider.image(image.name)
        lacks = newest_ready_upload(image.builds, provider.name) is None and not _in_progress(draft, newest, provider)
        if image_format and entry and not entry.pause and lacks and image_format not in files.get(newest.id, ()):
            return True
    return False


def _is_orphaned(draft: Draft, build: BuildView) -> bool:
    """Whether the builder that has the files of a build has been away for so long that nobody waits for it any more."""
    if build.orphaned_since is None:
        return False
    end = build.orphaned_since + ORPHANED_AFTER
    if draft.now < end:
        draft.look_at(end)
    return draft.now >= end


# Uploading


def _upload(draft: Draft) -> None:
    """What is to be uploaded (spec builder 4.1): of each format only the newest good build."""
    image = draft.image
    for provider in draft.rule.listing(image.name):
        entry, image_format = provider.image(image.name), provider.formats.get(image.name)
        if entry is None or entry.pause or image_format is None:
            continue
        newest = newest_build(image, image_format)
        if newest is not None and image_format in (draft.here.files or {}).get(newest.id, ()):
            _upload_one(draft, newest, provider, image_format)


def newest_build(image: ImageView, image_format: str) -> BuildView | None:
    """The newest good build that has a format."""
    ready = image.in_state(BuildState.READY)
    return next((build for build in ready if build.record and image_format in build.record.formats), None)


def _in_progress(draft: Draft, build: BuildView, provider: ProviderSetup) -> bool:
    """Whether an upload of a build to a provider goes on, or may still do so."""
    name = provider.name
    if name in build.uploading or any(key[1:3] == (build.id, name) for key in draft.here.uploading):
        return True
    return any(upload.provider == name and upload.state is UploadState.UPLOADING for upload in build.uploads)


def _upload_one(draft: Draft, build: BuildView, provider: ProviderSetup, image_format: str) -> None:
    of_provider = [upload for upload in build.uploads if upload.provider == provider.name]
    good = any(upload.state is UploadState.READY for upload in of_provider)
    if good or _in_progress(draft, build, provider):
        return
    back_off = max((backoff.read(upload.record) for upload in of_provider), key=lambda one: one.failures, default=None)
    changed = max(draft.rule.changed, draft.rule.providers_changed.get(provider.name, 0.0))
    mended = all(upload.time < changed for upload in of_provider)
    if back_off is not None and back_off.retry_at > draft.now and not mended:
        draft.look_at(back_off.retry_at)
        return
    if of_provider:
        reason = UploadReason.AGAIN
    elif newest_ready_upload(draft.image.builds, provider.name) is None:
        reason = UploadReason.MISSING
    else:
        reason = UploadReason.NEWER
    draft.add(Upload(build.id, provider.name, image_format, reason, back_off.failures if back_off else 0))
