"""What must hold at every moment: keep-last-good above all, no orphans, and nobody's work is taken away.

Each transaction is looked at when it is done, and so is each removal of a cloud's image, and each order for a server.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from nodepool.model.states import BuildState, UploadState, may_follow
from nodepool.zk import paths
from nodepool.zk.mirror import UploadKey
from nodepool.zk.store import Create, Delete, SetData
from tests.simulation.builders import presence, records
from tests.simulation.builders.clouds import CloudImage
from tests.simulation.ensemble import Transaction
from tests.simulation.records import Fields

if TYPE_CHECKING:
    from tests.simulation.builders.world import BuilderWorld

KNOWN_AFTER = 15.0
"""Seconds within which everybody who is there knows of a change."""


class Invariants:
    """Watches a world, and reports to it."""

    def __init__(self, world: BuilderWorld) -> None:
        self._world = world
        self._report = world.report
        self._good: dict[UploadKey, Fields] = {}
        """Ready uploads."""
        self._ready: dict[tuple[str, str], Fields] = {}
        """Ready builds."""
        self._newest: dict[tuple[str, str], list[tuple[float, str | None]]] = defaultdict(list)
        """Image and provider: the cloud's ids of what was the newest ready upload, and since when (epoch)."""
        self._doomed: set[str] = set()
        """Builds that an operator has removed."""
        self._states: dict[str, str] = {}
        """Of each record."""
        world.ensemble.observers.append(self._look)

    def _look(self, transaction: Transaction) -> None:
        builder = self._world.builder_of(transaction.session)
        for operation in transaction.operations:
            match operation:
                case SetData(path) | Delete(path) | Create(path):
                    self._look_at(builder, path)

    def _look_at(self, builder: str | None, path: str) -> None:
        match path.removeprefix(f"{paths.IMAGES}/").split("/"):
            case [image, "builds", build, "providers", provider, "images", upload] if upload != paths.LOCK:
                key = (image, build, provider, upload)
                if upload:
                    self._look_at_upload(builder, key, path)
                elif others := [one for one in presence.at_work_on_upload(self._world, key) if one != builder]:
                    self._report(f"{builder} uploads {key[:3]}, and {others} do")
            case [image, "builds", build] if build != paths.LOCK:
                self._look_at_build(builder, image, build, path)

    def _follows(
        self, builder: str | None, path: str, after: str | None, states: type[BuildState | UploadState]
    ) -> str:
        """Returns the state before; one that comes after it must be allowed to."""
        before = self._states.pop(path, None)
        if after is None:
            return before or ""
        self._states[path] = after
        if before is None:
            # An upload begins under a name that ZooKeeper chooses, unseen here. A build whose record was removed as
            # given up may come back with its files.
            before = "uploading" if states is UploadState else "building"
        if not may_follow(states(before), states(after)):
            self._report(f"{builder} writes {after} over {before} in {path}")
        return before

    # Builds

    def _look_at_build(self, builder: str | None, image: str, build: str, path: str) -> None:
        known = path in self._states
        record = records.fields(self._world.ensemble, path)
        state = record.get("state")
        before = self._follows(builder, path, state, BuildState)
        if builder is None:
            self._doomed.add(build)
        elif known and before == "building":
            self._is_given_up(builder, image, build, state)
        elif not known and state == "building":
            self._builds_alone(builder, image)
        if state == "ready":
            self._ready[image, build] = record
            self._has_files(image, build, record)
        elif lost := self._ready.pop((image, build), None):
            newer = [one for (of, _), one in self._ready.items() if of == image and _age(one) > _age(lost)]
            if builder is not None and not newer and self._world.is_wanted(builder, image):
                self._report(f"{builder} has removed the newest good build {build} of {image}")
        if state is None and before not in ("", "deleting") and builder is not None:
            self._report(f"{builder} removes the record of build {build} of {image}, which is {before}")

    def _is_given_up(self, builder: str, image: str, build: str, state: str | None) -> None:
        others = [one for one in presence.at_work_on_build(self._world, image, build) if one != builder]
        if others and build not in self._doomed:
            self._report(f"{builder} makes build {build} of {image} {state or 'go'}, and {others} work on it")

    def _builds_alone(self, builder: str, image: str) -> None:
        for (of_image, build), others in self._builds_under_way(builder).items():
            if of_image == image and self._states.get(paths.build(image, build)) == "building":
                self._report(f"{builder} builds {image}, and {others} do so as {build}")

    def _builds_under_way(self, builder: str) -> dict[tuple[str, str], list[str]]:
        keys = {key for one in self._world.builders.values() for key in one.reconciler.state.builds}
        found = {key: [one for one in presence.at_work_on_build(self._world, *key) if one != builder] for key in keys}
        return {key: names for key, names in sorted(found.items()) if names}

    def _has_files(self, image: str, build: str, record: Fields) -> None:
        disk = self._world.disks[str(record["builder"])]
        missing = set(record["formats"].split(",")) - disk.files.get((image, build), set())
        if missing:
            self._report(f"build {build} of {image} is ready without files {missing}")

    # Uploads

    def _look_at_upload(self, builder: str | None, key: UploadKey, path: str) -> None:
        record = records.fields(self._world.ensemble, path)
        state = record.get("state")
        before = self._follows(builder, path, state, UploadState)
        if before == "uploading" and builder is not None:
            others = [one for one in presence.at_work_on_upload(self._world, key) if one != builder]
            if others:
                self._report(f"{builder} makes upload {key} {state or 'go'}, and {others} work on it")
        if state == "ready":
            self._good[key] = record
            self._is_there(key, record)
        elif lost := self._good.pop(key, None):
            self._left(builder, key, lost)
        self._remember_newest(key[0], key[2])
        if state is None and builder is not None:
            self._leaves_nothing(builder, key, before)

    def _left(self, builder: str | None, key: UploadKey, lost: Fields) -> None:
        """An upload is not ready any more: there must be a newer one, if the image is wanted there."""
        image, build, provider, _ = key
        if builder is None or build in self._doomed or not self._world.is_wanted(builder, image, provider):
            return
        others = self._good_ones(image, provider)
        if not others:
            self._report(f"{builder} has removed the last good upload {key}")
        elif not any(_age(one) >= _age(lost) for one in others):
            self._report(f"{builder} has removed the newest good upload {key}")

    def _good_ones(self, image: str, provider: str) -> list[Fields]:
        return [record for key, record in self._good.items() if key[0] == image and key[2] == provider]

    def _remember_newest(self, image: str, provider: str) -> None:
        newest = max(self._good_ones(image, provider), key=_age, default={})
        history = self._newest[image, provider]
        if not history or history[-1][1] != newest.get("external_id"):
            history.append((self._world.clock.now, newest.get("external_id")))

    def _is_there(self, key: UploadKey, record: Fields) -> None:
        image = self._world.clouds[key[2]].images.get(record["external_id"])
        if image is None or not image.ready or (image.build_id, image.upload_id) != (key[1], key[3]):
            self._report(f"the upload {key} is ready without an image: {image}")

    def _leaves_nothing(self, builder: str, key: UploadKey, before: str) -> None:
        """A record goes after the cloud's image, unless somebody uploads it still, who will find it stray."""
        if before not in ("", "deleting"):
            self._report(f"{builder} removes the record of upload {key}, which is {before}")
        if any(key in one.reconciler.state.uploads for one in self._world.builders.values()):
            return
        images = self._world.clouds[key[2]].images.items()
        left = [name for name, one in images if (one.image, one.build_id, one.upload_id) == (key[0], key[1], key[3])]
        if left:
            self._report(f"{builder} removes the record of upload {key}, and leaves {left} in the cloud")

    # Clouds

    def deleting(self, who: str, external_id: str, image: CloudImage) -> None:
        """A cloud's image is about to be deleted: no ready record may tell of it, and nobody be uploading it."""
        key = (image.image, image.build_id, image.provider, image.upload_id)
        record = records.fields(self._world.ensemble, paths.upload(*key))
        if record.get("state") == "ready" and record.get("external_id") == external_id:
            self._report(f"{who} deletes image {external_id} of the ready upload {key}")
        others = [one for one in presence.at_work_on_upload(self._world, key) if one != who]
        if others:
            self._report(f"{who} deletes image {external_id}, and {others} are uploading it as {key}")

    def boots(self, image: str, provider: str, external_id: str | None) -> None:
        """A launcher that is up to date makes a server: of the newest good image, as it is known by now."""
        since = self._world.clock.now - KNOWN_AFTER
        history = [(0.0, None), *self._newest[image, provider]]
        recent = [(at, name) for at, name in history if at >= since]
        before = [name for at, name in history if at < since][-1:]
        if external_id not in (*before, *(name for _, name in recent)):
            self._report(f"a node of {image} in {provider} is made from {external_id}, not from {before}, {recent}")


def _age(record: Fields) -> float:
    return float(record.get("state_time") or 0.0)
