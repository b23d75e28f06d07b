"""Begins builds and stores their ends.

Runs on the decision thread; no I/O. A build begins with its record, which is made in one transaction with the image's
lock (spec builder 3.2); the command runs after that. Its end is stored whatever has become of the session meanwhile.
"""

from __future__ import annotations

from nodepool.builder import backoff, views
from nodepool.builder.backoff import BUILDS, BackOff
from nodepool.builder.dib.order import BuildOrder, BuildResult
from nodepool.builder.instructions import Purpose, StartBuild, StopBuild
from nodepool.builder.state import WORK, State
from nodepool.builder.steps import Build
from nodepool.builder.work import BuildWork
from nodepool.config.settings import DiskImage
from nodepool.daemon.instructions import Level
from nodepool.model.image import ImageBuild
from nodepool.model.states import BuildState
from nodepool.telemetry.facts import ImageBuilt
from nodepool.zk import paths
from nodepool.zk.store import Create, Delete, Operation, SetData

STEP_IN_AFTER = 15.0
"""Seconds for which an image is left to the builder that goes first by rendezvous hashing."""


def begin_some(state: State) -> None:
    """Begin as many builds as there are workers for.

    Those that have not failed come first, then those whose last build is longest ago: a failing image never starves
    another.
    """
    free = state.build_workers - len(state.builds)
    free -= sum(isinstance(step, Build) for step in state.starting.values())
    order = sorted(state.build_queue.items(), key=lambda item: (item[1].failures > 0, item[1].last_attempt, item[0]))
    for image, step in order:
        if free <= 0:
            return
        if image not in state.busy and _is_our_turn(state, image):
            _begin(state, image, step)
            free -= 1


def _is_our_turn(state: State, image: str) -> bool:
    since = state.since(("turn", image))
    if state.others.goes_first(state.builder_id, image, image=image) or state.now >= since + STEP_IN_AFTER:
        return True
    state.wake(since + STEP_IN_AFTER, WORK)
    return False


def _begin(state: State, image: str, step: Build) -> None:
    setup = state.setup
    assert setup is not None
    build_id = f"{state.chance.getrandbits(128):032x}"
    formats = setup.formats(image)
    record = ImageBuild(
        image=image,
        id=build_id,
        state=BuildState.BUILDING,
        state_time=state.now,
        builder_id=state.builder_id,
        builder=state.host,
        formats=formats,
        username=None,
        python_path=None,
        shell_type=None,
    )
    operations: list[Operation] = [
        *state.tree.missing([paths.image(image), paths.builds(image)]),
        *state.hold(paths.image_lock(image)),
        Create(paths.build(image, build_id), record.to_json()),
    ]
    state.starting[image] = step
    state.say(Level.INFO, f"Building image {image} as {build_id}: {step.reason.value}")
    state.commit(Purpose.START_BUILD, image, operations, (build_id, formats, step.failures, setup.images[image]))


def begun(state: State, image: str, about: tuple[str, tuple[str, ...], int, DiskImage]) -> None:
    """The record of a build is there: run the command."""
    build_id, formats, failures, disk_image = about
    setup = state.setup
    assert setup is not None
    if state.stopping:
        # Its record is found to be given up and goes.
        return
    state.builds[image, build_id] = BuildWork(disk_image, formats, failures)
    order = BuildOrder(
        image=image,
        build_id=build_id,
        formats=formats,
        disk_image=disk_image,
        images_dir=setup.images_dir,
        elements_dir=setup.elements_dir,
        log_dir=setup.build_log_dir,
        log_retention=setup.build_log_retention,
        free_space=setup.free_space,
        most_space=setup.most_space,
    )
    state.noticed.pop(("turn", image), None)
    state.out.append(StartBuild(order))


def ended(state: State, result: BuildResult) -> None:
    """The command has ended."""
    work = state.builds.get((result.image, result.build_id))
    if work is None:
        return
    work.result = result
    code = 1 if result.return_code is None else result.return_code
    state.measure(ImageBuilt(result.image, result.ok, code, result.seconds, state.now, result.sizes))
    if result.ok and state.files is not None:
        state.files_number += 1
        state.files.setdefault(result.image, {})[result.build_id] = result.formats
    state.dirty.add(result.image)


def stop(state: State) -> None:
    """End all builds that run."""
    for (image, build_id), work in state.builds.items():
        if work.result is None and not work.stopped:
            work.stopped = True
            state.out.append(StopBuild(image, build_id, "the builder stops"))


def store_end(state: State, image: str) -> bool:
    """Store the end of a build of an image, if one has ended; whether there was something to do."""
    for key, work in list(state.builds.items()):
        if key[0] != image or work.result is None:
            continue
        operations = _end(state, key, work, work.result)
        if operations is None:
            _forget(state, key, work.result)
            continue
        state.commit(Purpose.STORE_BUILD, image, operations, key)
        return True
    return False


def stored(state: State, key: tuple[str, str]) -> None:
    """The end of a build is in its record."""
    work = state.builds.get(key)
    if work is not None and work.result is not None:
        _forget(state, key, work.result)


def _forget(state: State, key: tuple[str, str], result: BuildResult) -> None:
    image, build_id = key
    del state.builds[key]
    state.work_wanted = True
    state.dirty.add(image)
    if result.ok:
        formats = ", ".join(result.formats)
        state.say(Level.INFO, f"Image {image} is built as {build_id} ({formats}) after {result.seconds:.0f} s")
    else:
        state.say(Level.ERROR, f"Image {image}: build {build_id} failed: {result.reason}")


def _end(state: State, key: tuple[str, str], work: BuildWork, result: BuildResult) -> list[Operation] | None:
    """Operations that store how a build has ended; None if nobody wants to know."""
    image, build_id = key
    path, entry = paths.build(image, build_id), state.mirror.builds.get(key)
    lock = state.our_lock(paths.image_lock(image))
    release: list[Operation] = [Delete(lock)] if lock is not None else []
    if entry is None:
        # Others took it for given up while we were away; the files are good all the same.
        if not result.ok or not views.rule_of(state, image).wanted:
            return None
        record = _finished(ImageBuild(image=image, id=build_id), state, work, result)
        parents = state.tree.missing([paths.image(image), paths.builds(image)])
        return [*parents, Create(path, record.to_json()), *release]
    if entry.record is None or entry.record.state is not BuildState.BUILDING:
        return release or None
    record = _finished(entry.record, state, work, result)
    operations: list[Operation] = [SetData(path, record.to_json(), entry.version), *release]
    asked = state.mirror.build_requests.get(image)
    if result.ok and asked is not None and asked <= entry.ctime:
        operations.append(Delete(paths.build_request(image)))
    return operations


def _finished(record: ImageBuild, state: State, work: BuildWork, result: BuildResult) -> ImageBuild:
    """The record of a build that has ended (spec builder 3.2)."""
    common = {
        "builder": state.host,
        "builder_id": state.builder_id,
        "username": work.disk_image.username,
        "python_path": work.disk_image.python_path,
        "shell_type": work.disk_image.shell_type,
    }
    if result.ok:
        return record.in_state(BuildState.READY, state.now, formats=tuple(sorted(result.formats)), **common)
    failures = work.failures if work.stopped else work.failures + 1
    retry_at = 0.0 if work.stopped else state.now + BUILDS.after(failures)
    told = backoff.write(record.extra, BackOff(failures, retry_at, result.reason))
    return record.in_state(BuildState.FAILED, state.now, formats=(), extra=told, **common)
