"""What must hold at every moment: keep-last-good above all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodepool.model.states import BuildState, UploadState, may_follow
from nodepool.zk import paths
from nodepool.zk.mirror import UploadKey
from nodepool.zk.store import Create, Delete, SetData
from tests.simulation.builders import records
from tests.simulation.builders.clouds import CloudImage
from tests.simulation.ensemble import Transaction

if TYPE_CHECKING:
    from tests.simulation.builders.world import World


class Watch:
    """Looks at every transaction and at every removal of a cloud's image."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.violations: list[str] = []
        self.good: dict[UploadKey, records.Fields] = {}
        """Ready uploads."""
        self.by_hand: set[tuple[str, str]] = set()
        """Image and provider of which an operator has removed something."""
        self.doomed: set[str] = set()
        """Builds that an operator has removed."""
        self._states: dict[str, str] = {}
        """Of each record."""
        world.ensemble.observers.append(self._look)

    def report(self, text: str) -> None:
        """Something is wrong."""
        text = f"{self._world.clock.elapsed:.3f}: {text}"
        if text not in self.violations:
            self.violations.append(text)

    def _look(self, transaction: Transaction) -> None:
        for operation in transaction.operations:
            match operation:
                case SetData(path) | Delete(path) | Create(path):
                    self._look_at(transaction.session, path, operation)

    def _look_at(self, session: int, path: str, operation: object) -> None:
        match path.removeprefix(f"{paths.IMAGES}/").split("/"):
            case [image, "builds", build, "providers", provider, "images", upload] if upload not in ("", paths.LOCK):
                key = (image, build, provider, upload)
                record = records.fields(self._world.ensemble, path)
                self._follows(session, path, record, UploadState)
                if record.get("state") == "ready":
                    self.good[key] = record
                    self._is_there(key, record)
                elif key in self.good:
                    del self.good[key]
                    self._left(session, key)
                elif not record and not session:
                    self._world.count("strange deletion")
            case [image, "builds", build] if build != paths.LOCK:
                if self._world.builder_of(session) is None:
                    self.doomed.add(build)
                record = records.fields(self._world.ensemble, path)
                self._follows(session, path, record, BuildState)
                if record.get("state") == "ready" and isinstance(operation, SetData | Create):
                    self._has_files(image, build, record)

    def _follows(self, session: int, path: str, record: records.Fields, states: type[BuildState | UploadState]) -> None:
        """A state must be one that may come after the one before."""
        before, after = self._states.pop(path, None), record.get("state")
        if after is None:
            return
        self._states[path] = after
        if before is None:
            # An upload begins under a name that ZooKeeper chooses, unseen here. A build whose record was removed as
            # given up may come back with its files.
            before = "uploading" if states is UploadState else "building"
        if not may_follow(states(before), states(after)):
            self.report(f"{self._world.builder_of(session)} writes {after} over {before} in {path}")

    def _left(self, session: int, key: UploadKey) -> None:
        """An upload is not ready any more: there must be another, if the image is wanted there."""
        image, build_id, provider, _ = key
        builder = self._world.builder_of(session)
        if builder is None or build_id in self.doomed:
            self.by_hand.add((image, provider))
            return
        if self._world.wants(builder, image, provider) and (image, provider) not in self.by_hand:
            others = [one for one in self.good if one[0] == image and one[2] == provider]
            if not others:
                self.report(f"{builder} has removed the last good upload {key}")
        if not any(one[0] == image and one[2] == provider for one in self.good):
            self.by_hand.discard((image, provider))

    def _is_there(self, key: UploadKey, record: records.Fields) -> None:
        image = self._world.cloud_of(key[2]).images.get(record["external_id"])
        if image is None or not image.ready or (image.build_id, image.upload_id) != (key[1], key[3]):
            self.report(f"the upload {key} is ready without an image: {image}")

    def _has_files(self, image: str, build: str, record: records.Fields) -> None:
        disk = self._world.disks[str(record["builder"])]
        missing = set(record["formats"].split(",")) - disk.files.get((image, build), set())
        if missing:
            self.report(f"build {build} of {image} is ready without files {missing}")

    def deleting(self, external_id: str, image: CloudImage) -> None:
        """A cloud's image is about to be deleted: no ready record may tell of it."""
        key = (image.image, image.build_id, image.provider, image.upload_id)
        record = records.fields(self._world.ensemble, paths.upload(*key))
        if record.get("state") == "ready" and record.get("external_id") == external_id:
            self.report(f"image {external_id} of the ready upload {key} is deleted")
