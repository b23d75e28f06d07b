"""Begins uploads and stores their ends.

Runs on the decision thread; no I/O. An upload begins with its record, which is made in one transaction with the upload
lock (spec builder 4.1); the call is made after that, with tags that tell which upload the image is. Its end is stored
whatever has become of the session meanwhile.
"""

from __future__ import annotations

from nodepool.builder import backoff
from nodepool.builder.backoff import UPLOADS, BackOff
from nodepool.builder.cleaning import BUILDER_ID
from nodepool.builder.instructions import Purpose, StartUpload
from nodepool.builder.state import State
from nodepool.builder.steps import Upload
from nodepool.builder.work import RemovalWork, UploadResult, UploadWork
from nodepool.daemon.instructions import Level
from nodepool.model.image import ImageUpload
from nodepool.model.states import UploadState
from nodepool.telemetry.facts import ImageUploaded
from nodepool.zk import paths
from nodepool.zk.mirror import UploadKey
from nodepool.zk.store import Check, Create, Delete, Operation, SetData


def begin_some(state: State) -> None:
    """Begin as many uploads as there are workers for; each provider always has one, however slow the others are.

    Those that have not failed come first, then those that wait longest.
    """
    running = [key[2] for key in state.uploads]
    running += [step.provider for step in state.starting.values() if isinstance(step, Upload)]
    order = sorted(
        state.upload_queue.items(),
        key=lambda item: (item[1].failures > 0, state.since(("upload turn", *item[0])), item[0]),
    )
    for key, step in order:
        if key[0] in state.busy or (len(running) >= state.upload_workers and step.provider in running):
            continue
        if _begin(state, key[0], step):
            running.append(step.provider)


def _begin(state: State, image: str, step: Upload) -> bool:
    build = state.mirror.builds.get((image, step.build_id))
    if build is None or build.record is None:
        return False
    record = ImageUpload(
        image=image,
        build_id=step.build_id,
        provider=step.provider,
        id="",
        state=UploadState.UPLOADING,
        state_time=state.now,
        format=step.image_format,
        username=build.record.username,
        python_path=build.record.python_path,
        shell_type=build.record.shell_type,
        extra={BUILDER_ID: state.builder_id},
    )
    uploads = paths.uploads(image, step.build_id, step.provider)
    providers = paths.build_providers(image, step.build_id)
    operations: list[Operation] = [
        Check(paths.build(image, step.build_id), build.version),
        *state.tree.missing([providers, f"{providers}/{step.provider}", uploads]),
        *state.hold(paths.uploads_lock(image, step.build_id, step.provider)),
        Create(f"{uploads}/", record.to_json(), sequence=True),
    ]
    state.starting[image] = step
    state.commit(Purpose.START_UPLOAD, image, operations, step)
    return True


def begun(state: State, image: str, step: Upload, upload_id: str) -> None:
    """The record of an upload is there: make the call."""
    key = (image, step.build_id, step.provider, upload_id)
    provider = state.setup.providers.get(step.provider) if state.setup else None
    disk_image = state.setup.images.get(image) if state.setup else None
    entry = provider.image(image) if provider else None
    state.noticed.pop(("upload turn", image, step.build_id, step.provider, ""), None)
    if provider is None or entry is None or disk_image is None or state.stopping:
        # Its record is found to be given up and goes.
        return
    name = provider.settings.external_name(image, upload_id, state.now)
    state.uploads[key] = UploadWork(step.image_format, name, step.failures)
    text = f"Uploading DIB image build {step.build_id} of image {image} to provider {step.provider} as {name}: "
    state.say(Level.INFO, text + step.reason.value)
    state.out.append(
        StartUpload(
            key=key,
            image_format=step.image_format,
            external_name=name,
            properties={**disk_image.metadata, **entry.properties},
            timeout=provider.settings.upload_timeout,
            hook=provider.settings.post_upload_hook,
            hook_timeout=provider.settings.hook_timeout,
        )
    )


def ended(state: State, key: UploadKey, result: UploadResult) -> None:
    """An upload has ended."""
    work = state.uploads.get(key)
    if work is not None:
        work.result = result
        state.measure(ImageUploaded(key[0], key[2], not result.error, result.seconds))
        state.dirty.add(key[0])


def store_end(state: State, image: str) -> bool:
    """Store the end of an upload of an image, if one has ended; whether there was something to do."""
    for key, work in list(state.uploads.items()):
        if key[0] != image or work.result is None:
            continue
        operations = _end(state, key, work, work.result)
        if operations is None:
            _remove_stray(state, key, work.result)
            _forget(state, key, work.result)
            continue
        state.commit(Purpose.STORE_UPLOAD, image, operations, key)
        return True
    return False


def stored(state: State, key: UploadKey) -> None:
    """The end of an upload is in its record."""
    work = state.uploads.get(key)
    if work is not None and work.result is not None:
        entry = state.mirror.uploads.get(key)
        if entry is None or entry.record is None or entry.record.external_id != work.result.external_id:
            _remove_stray(state, key, work.result)
        _forget(state, key, work.result)


def _end(state: State, key: UploadKey, work: UploadWork, result: UploadResult) -> list[Operation] | None:
    """Operations that store how an upload has ended; None if its record is gone."""
    entry = state.mirror.uploads.get(key)
    lock = state.our_lock(paths.uploads_lock(*key[:3]))
    release: list[Operation] = [Delete(lock)] if lock is not None else []
    if entry is None or entry.record is None or entry.record.state is not UploadState.UPLOADING:
        return release or None
    common = {"external_id": result.external_id, "external_name": work.external_name, "format": work.image_format}
    if not result.error:
        record = entry.record.in_state(UploadState.READY, state.now, **common)
    else:
        failures = work.failures + 1
        told = BackOff(failures, state.now + UPLOADS.after(failures), result.error)
        extra = backoff.write(entry.record.extra, told)
        record = entry.record.in_state(UploadState.FAILED, state.now, extra=extra, **common)
    return [SetData(paths.upload(*key), record.to_json(), entry.version), *release]


def _remove_stray(state: State, key: UploadKey, result: UploadResult) -> None:
    """The cloud has an image that no record tells of: have it removed."""
    if result.external_id is not None:
        state.removals[key] = RemovalWork(key[2], result.external_id, running=False)


def _forget(state: State, key: UploadKey, result: UploadResult) -> None:
    image, build_id, provider, _ = key
    del state.uploads[key]
    state.work_wanted = True
    state.dirty.add(image)
    if result.error:
        text = f"Build {build_id} of image {image} could not be uploaded to provider {provider}: {result.error}"
        state.say(Level.ERROR, text)
    else:
        text = (
            f"Build {build_id} of image {image} is uploaded to provider {provider} as {result.external_id} and is ready"
        )
        state.say(Level.INFO, text)
