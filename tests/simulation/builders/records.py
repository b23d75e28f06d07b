"""Reads the records of images straight from the ensemble, for those who check."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from nodepool.zk import paths
from nodepool.zk.memory import MemoryEnsemble
from nodepool.zk.mirror import UploadKey
from nodepool.zk.paths import LOCK

Fields = dict[str, Any]


def fields(ensemble: MemoryEnsemble, path: str) -> Fields:
    """A record, empty if there is none."""
    datum = ensemble.read(path)
    return json.loads(datum.data) if datum is not None and datum.data else {}


def images(ensemble: MemoryEnsemble) -> Iterator[str]:
    """Names of all images."""
    yield from ensemble.children(paths.IMAGES) or ()


def builds(ensemble: MemoryEnsemble) -> Iterator[tuple[str, str, Fields]]:
    """Image, id and record of each build."""
    for image in images(ensemble):
        for build_id in ensemble.children(paths.builds(image)) or ():
            if build_id != LOCK:
                yield image, build_id, fields(ensemble, paths.build(image, build_id))


def uploads(ensemble: MemoryEnsemble) -> Iterator[tuple[UploadKey, Fields]]:
    """Key and record of each upload."""
    for image, build_id, _ in builds(ensemble):
        for provider in ensemble.children(paths.build_providers(image, build_id)) or ():
            for upload_id in ensemble.children(paths.uploads(image, build_id, provider)) or ():
                if upload_id != LOCK:
                    key = (image, build_id, provider, upload_id)
                    yield key, fields(ensemble, paths.upload(*key))
