"""What does not fit in the part of nodepool.yaml that the schema of OpenStack describes, or between it and the rest.

Spec config 11, 12. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nodepool.driver.contract import ReferenceProblem
from nodepool.driver.launch_settings import image_of, of_label_or_pool, ready_check
from nodepool.driver.nodescan.request import KEY_CONNECTION_TYPES

_Path = tuple[str | int, ...]
_KINDS = ("diskimage", "cloud-image")


def check_references(provider: Mapping[str, Any], config: Any, sized: bool = True) -> Iterator[ReferenceProblem]:
    """The problems of a provider's mapping that has passed the schema; ``config`` has ``diskimages`` by name.

    ``sized``: whether a label chooses among sizes that the cloud offers.
    """
    for index, image in enumerate(provider.get("diskimages", ())):
        if image["name"] not in config.diskimages:
            message = f"the diskimage '{image['name']}' is not in the top-level diskimages: add it there"
            yield ReferenceProblem(("diskimages", index, "name"), message)
    for kind in _KINDS:
        yield from _twice((f"{kind}s",), kind, provider.get(f"{kind}s", ()))
    for pool_index, pool in enumerate(provider.get("pools", ())):
        path = ("pools", pool_index, "labels")
        yield from _twice(path, "label", pool.get("labels", ()))
        for index, label in enumerate(pool.get("labels", ())):
            problems = list(_label((*path, index), label, provider, sized))
            yield from problems or _check_before_use((*path, index), label, pool, image_of(label, provider, config))


def _label(
    path: _Path, label: Mapping[str, Any], provider: Mapping[str, Any], sized: bool
) -> Iterator[ReferenceProblem]:
    named = [key for key in _KINDS if key in label]
    if len(named) != 1:
        how = "none" if not named else "both"
        yield ReferenceProblem(path, f"a label needs one of diskimage and cloud-image, and this one has {how}")
    for key in named:
        if all(image["name"] != label[key] for image in provider.get(f"{key}s", ())):
            message = f"there is no '{label[key]}' in the {key}s of this provider: add it there"
            yield ReferenceProblem((*path, key), message)
    if sized and "min-ram" not in label and "flavor-name" not in label:
        yield ReferenceProblem(path, "a label needs min-ram, flavor-name or both, and this one has none")


def _check_before_use(
    path: _Path, label: Mapping[str, Any], pool: Mapping[str, Any], image: Mapping[str, Any]
) -> Iterator[ReferenceProblem]:
    check = ready_check(of_label_or_pool("ready-check", label, pool))
    if check is None:
        return
    own = "ready-check" in label
    place, name = ((*path, "ready-check"), "ready-check") if own else (path, "the ready-check of the pool")
    connection_type = image.get("connection-type", "ssh")
    if connection_type not in KEY_CONNECTION_TYPES:
        message = f"{name} needs SSH, and the connection-type of '{image['name']}' is {connection_type}: " + (
            "remove it" if own else "write 'ready-check: false' here"
        )
        yield ReferenceProblem(place, message)
    elif not check.username and not image.get("username"):
        message = f"{name} has nobody to log in as: add a username to it or to the image '{image['name']}'"
        yield ReferenceProblem(place, message)


def _twice(path: _Path, kind: str, entries: Any) -> Iterator[ReferenceProblem]:
    seen = set()
    for index, entry in enumerate(entries):
        if entry["name"] in seen:
            message = f"the {kind} '{entry['name']}' stands here a second time; only the last one counts: remove one"
            yield ReferenceProblem((*path, index, "name"), message, tolerated=True)
        seen.add(entry["name"])
