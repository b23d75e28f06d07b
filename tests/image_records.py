"""What ZooKeeper says of images, read with nothing but kazoo and JSON (spec zookeeper 3)."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from tests.builder_process import IMAGE

IMAGES = "/nodepool/images"


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload; ``path`` is what a node's ``image_id`` says."""

    path: str
    build: str
    provider: str
    state: str
    external_id: str | None
    time: float
    """When it came to its state (epoch seconds)."""


class ImageRecords:
    """The builds and uploads of one image. Empty records and locks are left out; all methods read anew."""

    def __init__(self, client: KazooClient, image: str = IMAGE) -> None:
        self.client = client
        self.path = f"{IMAGES}/{image}"

    def builds(self) -> dict[str, dict[str, Any]]:
        """Records of builds by id."""
        return self._records(f"{self.path}/builds")

    def builds_in(self, state: str) -> list[str]:
        """Ids of the builds in a state, the oldest first."""
        found = sorted(self.builds().items(), key=lambda item: float(item[1].get("state_time") or 0))
        return [name for name, record in found if record.get("state") == state]

    def uploads(self, state: str | None = None) -> list[Upload]:
        """All uploads, or those in a state, in the order in which they came to it."""
        found = []
        for build in self._children(f"{self.path}/builds"):
            for provider in self._children(f"{self.path}/builds/{build}/providers"):
                parent = f"{self.path}/builds/{build}/providers/{provider}/images"
                for name, record in self._records(parent).items():
                    time = float(record.get("state_time") or 0)
                    external_id = record.get("external_id")
                    found.append(Upload(f"{parent}/{name}", build, provider, record["state"], external_id, time))
        chosen = [upload for upload in found if state is None or upload.state == state]
        return sorted(chosen, key=lambda upload: upload.time)

    def read(self, path: str) -> dict[str, Any]:
        """One record, which must be there."""
        record: dict[str, Any] = json.loads(self.client.get(path)[0])
        return record

    def mark_deleting(self, upload: str) -> None:
        """Take an upload back as ``nodepool image-delete`` does."""
        record = {**self.read(upload), "state": "deleting", "state_time": time.time()}
        self.client.set(upload, json.dumps(record).encode())

    def request_build(self) -> None:
        """Ask for a build as ``nodepool image-build`` does."""
        self.client.ensure_path(f"{self.path}/request-build")

    def requests(self) -> list[str]:
        """Whether a build is asked for: its flag."""
        return [name for name in self._children(self.path) if name == "request-build"]

    def contenders(self) -> list[str]:
        """Whoever holds or awaits any lock of the image."""
        return [path for path in self._below(self.path) if "/lock/" in path]

    def _records(self, parent: str) -> dict[str, dict[str, Any]]:
        found = {}
        for name in self._children(parent):
            with contextlib.suppress(NoNodeError):
                data = self.client.get(f"{parent}/{name}")[0]
                if data:
                    found[name] = json.loads(data)
        return found

    def _children(self, path: str) -> list[str]:
        with contextlib.suppress(NoNodeError):
            return [name for name in self.client.get_children(path) if name != "lock"]
        return []

    def _below(self, path: str) -> list[str]:
        found = [path]
        with contextlib.suppress(NoNodeError):
            for name in self.client.get_children(path):
                found += self._below(f"{path}/{name}")
        return found
