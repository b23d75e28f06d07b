"""Takes the steps of a plan that remove something, lock by lock.

Runs on the decision thread; no I/O. A cloud's image is removed under the lock of its record, so that no two builders do
it at once, and the record goes after it. What any builder could do is done at once by the first by rendezvous hashing,
and by the others if it has not been done after a while.
"""

from __future__ import annotations

from nodepool.builder.backoff import REMOVALS
from nodepool.builder.instructions import Purpose, RemoveFiles, RemoveImage
from nodepool.builder.state import State
from nodepool.builder.steps import (
    ClearRequest,
    DeleteFiles,
    DeleteUpload,
    DropLock,
    EraseBuild,
    EraseImage,
    EraseUpload,
    LockBuild,
    LockUpload,
    MarkBuild,
    MarkUpload,
    Removal,
    Step,
)
from nodepool.builder.work import RemovalWork
from nodepool.daemon.instructions import Level
from nodepool.driver.errors import CloudError, NotFound
from nodepool.model.states import BuildState, UploadState
from nodepool.zk import paths
from nodepool.zk.mirror import UploadKey
from nodepool.zk.store import Check, Delete, Operation, SetData

STEP_IN_AFTER = 30.0
"""Seconds for which something is left to the builder that goes first."""
ERASE_IMAGE_AFTER = 60.0
"""Seconds for which an image without builds that nobody has may stay: a new one may not be in all files yet."""


def take(state: State, image: str, step: Step) -> bool:
    """Take a step; whether a transaction is under way now, so that the next step has to wait for its end."""
    if isinstance(step, Removal) and not _may_take(state, image, step):
        return False
    match step:
        case MarkUpload():
            _mark_upload(state, step)
        case DeleteUpload(key):
            return _delete_upload(state, key)
        case EraseUpload(key):
            _erase(state, Purpose.ERASE_UPLOAD, image, paths.upload(*key))
        case MarkBuild():
            _mark_build(state, image, step)
        case EraseBuild(build_id):
            _erase(state, Purpose.ERASE_BUILD, image, paths.build(image, build_id))
        case EraseImage():
            state.say(Level.INFO, f"Removing what is left of image {image}: no builder's configuration has it")
            _erase(state, Purpose.ERASE_IMAGE, image, paths.image(image))
        case DeleteFiles():
            _delete_files(state, image, step)
            return False
        case _:
            return _see_to_lock(state, image, step)
    return True


def _see_to_lock(state: State, image: str, step: Step) -> bool:
    match step:
        case LockBuild(build_id):
            check = Check(paths.build(image, build_id), state.build_version(image, build_id))
            state.commit(Purpose.LOCK, image, (check, *state.hold(paths.image_lock(image))))
        case LockUpload(key):
            check = Check(paths.upload(*key), state.upload_version(key))
            state.commit(Purpose.LOCK, image, (check, *state.hold(paths.uploads_lock(*key[:3]))))
        case DropLock(directory):
            lock = state.our_lock(directory)
            if lock is None:
                return False
            state.commit(Purpose.DROP_LOCK, image, (Delete(lock),))
        case ClearRequest():
            state.commit(Purpose.CLEAR_REQUEST, image, (Delete(paths.build_request(image)),))
        case _:
            return False
    return True


def _may_take(state: State, image: str, step: Removal) -> bool:
    """Whether it is for us to do it, now."""
    provider, wait = None, 0.0
    match step:
        case MarkUpload(key) | DeleteUpload(key):
            provider = key[2]
            if state.our_lock(paths.upload_lock(*key)) is not None:
                return True
        case EraseImage():
            wait = ERASE_IMAGE_AFTER
    subject = f"{image} {provider}" if provider else image
    if not state.others.goes_first(state.builder_id, subject, provider=provider):
        wait = max(wait, STEP_IN_AFTER)
    if not wait:
        return True
    due = state.removals_due.setdefault(image, {}).setdefault(step, state.now) + wait
    if state.now < due:
        state.wake(due, image)
    return state.now >= due


# Uploads


def _mark_upload(state: State, step: MarkUpload) -> None:
    image, build_id, provider, upload_id = key = step.key
    entry = state.mirror.uploads[key]
    assert entry.record is not None
    record = entry.record.in_state(UploadState.DELETING, state.now)
    write = SetData(paths.upload(*key), record.to_json(), entry.version)
    operations: list[Operation] = [*state.hold(paths.upload_lock(*key)), write]
    if step.instead is not None:
        operations.append(Check(paths.upload(*step.instead), state.upload_version(step.instead)))
    text = f"Removing upload {upload_id} of build {build_id} of image {image} from provider {provider}"
    state.say(Level.INFO, f"{text}: {step.reason.value}")
    state.commit(Purpose.MARK_UPLOAD, image, operations)


def _delete_upload(state: State, key: UploadKey) -> bool:
    """Lock the record, remove the cloud's image, remove the record."""
    entry = state.mirror.uploads[key]
    assert entry.record is not None
    if state.our_lock(paths.upload_lock(*key)) is None:
        check = Check(paths.upload(*key), entry.version)
        state.commit(Purpose.LOCK_UPLOAD, key[0], (check, *state.hold(paths.upload_lock(*key))))
        return True
    work = state.removals.get(key)
    if work is None:
        work = state.removals[key] = RemovalWork(key[2], entry.record.external_id, running=False)
    if work.done:
        _erase(state, Purpose.ERASE_UPLOAD, key[0], paths.upload(*key))
        return True
    call(state, key, work)
    return False


def call(state: State, key: UploadKey, work: RemovalWork) -> None:
    """Ask for the removal of a cloud's image, if it is time."""
    if work.running or work.done:
        return
    if state.now < work.retry_at:
        state.wake(work.retry_at, key[0])
        return
    work.running = True
    state.out.append(RemoveImage(key, work.external_id))


def ended(state: State, key: UploadKey, error: CloudError | None) -> None:
    """A call to remove a cloud's image has ended."""
    work = state.removals.get(key)
    if work is None:
        return
    work.running = False
    state.dirty.add(key[0])
    if error is None or isinstance(error, NotFound):
        work.done = True
        state.say(Level.INFO, f"Upload {key[3]} of build {key[1]} of image {key[0]} is gone from provider {key[2]}")
        return
    work.failures += 1
    work.retry_at = state.now + REMOVALS.after(work.failures)
    text = f"Upload {key[3]} of build {key[1]} of image {key[0]} cannot be removed from provider {key[2]}: {error}"
    state.say(Level.WARNING if work.failures == 1 else Level.DEBUG, text)


def see_to_strays(state: State, image: str) -> None:
    """Go on with the removal of images that no record tells of, and forget what is done."""
    for key, work in list(state.removals.items()):
        if key[0] != image or key in state.mirror.uploads or work.running:
            continue
        known = state.setup is not None and key[2] in state.setup.providers
        if work.done or not known or work.external_id is None:
            del state.removals[key]
        else:
            call(state, key, work)


# Builds and files


def _mark_build(state: State, image: str, step: MarkBuild) -> None:
    entry = state.mirror.builds[image, step.build_id]
    assert entry.record is not None
    record = entry.record.in_state(BuildState.DELETING, state.now)
    write = SetData(paths.build(image, step.build_id), record.to_json(), entry.version)
    state.say(Level.INFO, f"Removing build {step.build_id} of image {image}: {step.reason.value}")
    state.commit(Purpose.MARK_BUILD, image, (*state.seize(paths.build_lock(image, step.build_id)), write))


def _erase(state: State, purpose: Purpose, image: str, path: str) -> None:
    """Remove a record with all that is below it: the transaction fails if there is more than we know of."""
    state.commit(purpose, image, tuple(Delete(one) for one in state.tree.below(path)))


def _delete_files(state: State, image: str, step: DeleteFiles) -> None:
    if (image, step.build_id) in state.deleting_files:
        return
    due = state.noticed.get(("files", image, step.build_id), 0.0)
    if state.now < due:
        state.wake(due, image)
        return
    state.deleting_files.add((image, step.build_id))
    what = "all files" if step.formats is None else ", ".join(step.formats)
    state.say(Level.INFO, f"Deleting {what} of build {step.build_id} of image {image}: {step.reason.value}")
    state.out.append(RemoveFiles(image, step.build_id, step.formats))
