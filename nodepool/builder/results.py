"""Takes over what happened: news of ZooKeeper, ends of transactions, of builds, of uploads.

Runs on the decision thread; no I/O. Nothing is decided here: what an event touches is marked for a look.
"""

from __future__ import annotations

from typing import Any

from nodepool.builder import building, census, removing, uploading
from nodepool.builder.events import BuildEnded, Event, FilesListed, FilesRemoved, RemovalEnded, Stopping, UploadEnded
from nodepool.builder.instructions import ListFiles, Purpose
from nodepool.builder.setup import Setup
from nodepool.builder.state import FILES, State
from nodepool.daemon.events import CensusAsked, CommitEnded, Configured, News, SessionChanged
from nodepool.daemon.instructions import Commit, Level
from nodepool.zk import paths
from nodepool.zk.mirror import Entry
from nodepool.zk.store import Committed
from nodepool.zk.written import written

LIST_FILES_EVERY = 600.0
"""Seconds between two looks at the images directory, in which an operator may have changed something."""
SPARE_FILES = 86400.0
"""Seconds for which files are left alone that ZooKeeper knows nothing of because it has lost everything."""
RETRY_FILES = 60.0
"""Seconds until files are deleted again that could not be."""


def take(state: State, event: Event) -> None:
    """Take over one event."""
    match event:
        case SessionChanged(change):
            if state.take_session(change):
                # What runs goes on: its records tell that it is ours, and its locks are taken again.
                state.starting.clear()
        case News(batch):
            if batch.session == state.session:
                state.take_over(batch)
                _report_broken(state, batch.entries)
                if batch.complete:
                    _in_step(state)
        case CommitEnded(commit, outcome):
            if commit.session == state.session:
                _commit_ended(state, commit, outcome)
        case Configured(setup):
            _configured(state, setup)
        case CensusAsked():
            census.take(state, event)
        case Stopping(now):
            state.stopping = True
            state.stopping_now = state.stopping_now or now
            if now:
                building.stop(state)
        case BuildEnded(result):
            building.ended(state, result)
        case UploadEnded(key, result):
            uploading.ended(state, key, result)
        case RemovalEnded(key, error):
            removing.ended(state, key, error)
        case FilesListed():
            _files_listed(state, event)
        case FilesRemoved():
            _files_removed(state, event)


def list_files(state: State) -> None:
    """Have the images directory looked at."""
    state.files_number += 1
    state.out.append(ListFiles(state.files_number))
    state.wake(state.now + LIST_FILES_EVERY, FILES)


def _configured(state: State, setup: Setup) -> None:
    before, state.setup = state.setup, setup
    if before is not None:
        kinds = ("image", before.images, setup.images), ("provider", before.providers, setup.providers)
        for kind, old, new in kinds:
            changed = {(kind, name): state.now for name in new if new[name] != old.get(name)}
            state.changed.update(changed)
    state.look_at_all()


# ZooKeeper


def _in_step(state: State) -> None:
    """A complete batch came: everything has to be looked at, and doubts about transactions are over."""
    state.end_doubts()
    state.look_at_builders()
    _spare_files(state)
    state.look_at_all()


def _commit_ended(state: State, commit: Commit[Purpose, str], outcome: object) -> None:
    image = commit.key
    state.dirty.add(image)
    if isinstance(outcome, Committed):
        state.free(image)
        known = _known_of(state)
        state.take_over_own(written(commit.operations, outcome, known, state.now, commit.session))
        _done(state, commit, outcome)
        return
    state.starting.pop(image, None)
    state.put_off([image], outcome)
    state.say(Level.DEBUG, f"Could not {commit.purpose.value} ({image}): {outcome}")


def _done(state: State, commit: Commit[Purpose, str], outcome: Committed) -> None:
    match commit.purpose:
        case Purpose.START_BUILD:
            building.begun(state, commit.key, commit.about)
        case Purpose.STORE_BUILD:
            building.stored(state, commit.about)
        case Purpose.START_UPLOAD:
            uploading.begun(state, commit.key, commit.about, str(outcome.results[-1]).rpartition("/")[2])
        case Purpose.STORE_UPLOAD:
            uploading.stored(state, commit.about)


def _known_of(state: State) -> Any:
    """How to look up the record at a path, as far as a transaction of ours may change one."""

    def known(path: str) -> Entry[Any] | None:
        match path.removeprefix(f"{paths.IMAGES}/").split("/"):
            case [image, "builds", build]:
                return state.mirror.builds.get((image, build))
            case [image, "builds", build, "providers", provider, "images", upload]:
                return state.mirror.uploads.get((image, build, provider, upload))
        return None

    return known


def _report_broken(state: State, changed: Any) -> None:
    """Say once of each record that cannot be read what is wrong with it; an empty one is removed in silence."""
    if not any(path.startswith(f"{paths.IMAGES}/") for path in changed):
        return
    known = _known_of(state)
    for path in changed:
        entry = known(path)
        if entry is not None and entry.problem and not entry.empty and path not in state.reported:
            state.reported.add(path)
            state.say(Level.ERROR, f"{path} cannot be read and is left alone: {entry.problem}")


# Files


def _files_listed(state: State, event: FilesListed) -> None:
    if event.builds is None:
        state.say(Level.ERROR, f"The images directory cannot be read: {event.error}")
        return
    if event.number != state.files_number or state.deleting_files:
        # Something has come or gone since: it would be missing here, or be in it still.
        list_files(state)
        return
    first = state.files is None
    before = state.files or {}
    state.files = {}
    for (image, build_id), formats in event.builds.items():
        state.files.setdefault(image, {})[build_id] = formats
    if first and state.synced:
        _spare_files(state)
    changed = {image for image in before.keys() | state.files.keys() if before.get(image) != state.files.get(image)}
    state.dirty.update(changed)
    if first:
        state.look_at_all()


def _files_removed(state: State, event: FilesRemoved) -> None:
    key = (event.image, event.build_id)
    state.deleting_files.discard(key)
    state.dirty.add(event.image)
    if event.error:
        state.noticed["files", *key] = state.now + RETRY_FILES
        text = f"Files of build {event.build_id} of image {event.image} cannot be deleted: {event.error}"
        state.say(Level.WARNING, text)
        return
    state.files_number += 1
    builds = (state.files or {}).get(event.image, {})
    left = tuple(one for one in builds.get(event.build_id, ()) if one not in (event.formats or ()))
    if event.formats is None:
        builds.pop(event.build_id, None)
    elif event.build_id in builds:
        builds[event.build_id] = left
    if not builds:
        (state.files or {}).pop(event.image, None)


def _spare_files(state: State) -> None:
    """Leave good images alone if ZooKeeper knows of no build at all: it has lost its data, and they may be restored."""
    for key in [key for key, until in state.spared.items() if until <= state.now]:
        del state.spared[key]
    wanted = state.setup.images if state.setup else {}
    here = {image: builds for image, builds in (state.files or {}).items() if image in wanted}
    if state.mirror.builds or not here:
        return
    until = state.now + SPARE_FILES
    for image, builds in here.items():
        for build_id in builds.keys() - {build for name, build in state.builds if name == image}:
            state.spared.setdefault((image, build_id), until)
            state.wake(until + 1.0, image)
    state.say(
        Level.ERROR,
        "ZooKeeper knows of no image build at all, but there are images on this host. They are left alone for a day: "
        "if ZooKeeper has lost its data, stop the builders and restore it with 'nodepool import-image-data'",
    )
