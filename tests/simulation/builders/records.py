"""Reads the records of images straight from the ensemble, for those who check."""

from __future__ import annotations

from collections.abc import Iterator

from nodepool.model.component import BUILDER
from nodepool.zk import paths
from nodepool.zk.memory import MemoryEnsemble
from nodepool.zk.mirror import UploadKey
from nodepool.zk.paths import LOCK
from tests.simulation.records import Fields, decoded


def fields(ensemble: MemoryEnsemble, path: str) -> Fields:
    """A record, empty if there is none."""
    return decoded(ensemble.read(path))


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


def listed(ensemble: MemoryEnsemble, before: float) -> Iterator[tuple[str, str, str]]:
    """Builder, image and provider of all that builders have told since ``before`` (epoch) to have."""
    for name in ensemble.children(paths.components(BUILDER)) or ():
        datum = ensemble.read(f"{paths.components(BUILDER)}/{name}")
        if datum is not None and datum.mtime <= before:
            component = decoded(datum)
            for image, providers in component.get("images", {}).items():
                yield from ((component["hostname"], image, provider) for provider in providers)
