"""Saving what ZooKeeper knows of images as one JSON object, and bringing it back (spec cli 2, builder 9).

Pure. The object maps the paths of pause flags, builds and uploads to their text. Nothing else of the tree is in it:
locks and requests to build have no meaning later.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nodepool.admin.failure import CommandFailed
from nodepool.admin.snapshot import is_name
from nodepool.admin.table import printable
from nodepool.model.image import ImageBuild, ImageUpload
from nodepool.model.record import BrokenRecord
from nodepool.zk import paths
from nodepool.zk.store import Create, Datum, Delete, Operation, SetData

HIGHEST_NUMBER = 1_000_000
"""Most that an upload's number may be: ZooKeeper's counter is advanced step by step."""
BATCH = 200
"""Operations in one transaction."""
BATCH_BYTES = 400_000
"""Bytes of data in one transaction; what is more is refused by ZooKeeper at about a megabyte."""

_UPLOAD_NUMBER = re.compile(r"\d{10}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Export:
    """What is saved, and a line for each record that cannot be."""

    data: Mapping[str, str]
    problems: Sequence[str]


def exported(tree: Mapping[str, Datum]) -> Export:
    """What is to be saved of these znodes."""
    data, problems = {}, []
    for path in sorted(tree):
        if not _is_kept(path):
            continue
        trouble = _trouble(path, tree[path].data)
        if trouble:
            problems.append(f"{printable(path)}: {trouble}; it is left out")
        else:
            data[path] = tree[path].data.decode()
    return Export(data, problems)


def written(data: Mapping[str, str]) -> str:
    """The text of the file."""
    return json.dumps(data, indent=2, sort_keys=True) + "\n"


def read(text: str) -> Export:
    """What a file says. Records without any data are left out: they say nothing (spec zookeeper 6.4).

    Raises :class:`CommandFailed` with all that is wrong.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CommandFailed(f"not JSON: {error}") from None
    if not isinstance(values, dict):
        raise CommandFailed(f"a JSON object is expected, found {type(values).__name__}")
    empty = [path for path, value in values.items() if value == "" and not path.endswith("/pause")]
    data = {path: value for path, value in values.items() if path not in empty}
    wrong = [f"{printable(path)}: {trouble}" for path, value in data.items() if (trouble := _file_trouble(path, value))]
    if wrong:
        raise CommandFailed("\n".join(["nothing was imported", *wrong]))
    return Export(data, [f"{printable(path)}: it is empty and is left out" for path in empty])


def restoration(data: Mapping[str, str], tree: Mapping[str, Datum]) -> list[list[Operation]]:
    """The transactions, in their order, that add ``data`` to what there is below the root of images, which exists.

    What is there already stays; so an import that was interrupted can be repeated. Raises :class:`CommandFailed` with
    all that contradicts what is there.
    """
    wrong = list(_contradictions(data, tree))
    if wrong:
        raise CommandFailed("\n".join(["nothing was imported", *wrong]))
    known = {paths.ROOT, paths.IMAGES, *tree}
    steps: list[Sequence[Operation]] = []
    missing = sorted(path for path in data if not _is_there(path, tree))
    highest = _highest_numbers(missing)
    for path in missing:
        above = [parent for parent in paths.parents(path) if parent not in known]
        steps += [(Create(parent),) for parent in above]
        known.update(above)
        folder = path.rpartition("/")[0]
        steps += _counted(folder, highest.pop(folder, 0), known)
        steps.append((_write(path, data[path].encode(), tree.get(path)),))
        known.add(path)
    return list(_batches(steps))


def _is_kept(path: str) -> bool:
    match path.split("/")[3:]:
        case [_, "pause"]:
            return True
        case [_, "builds", build] | [_, "builds", build, "providers", _, "images", _]:
            return build != paths.LOCK and not path.endswith(f"/{paths.LOCK}")
    return False


def _trouble(path: str, data: bytes) -> str:
    """Why the data of a znode is not what it should be; empty if it is."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return str(error)
    match path.split("/")[3:]:
        case [_, "pause"]:
            return ""
        case [image, "builds", build]:
            return _record_trouble(ImageBuild, data, image=image, id=build)
        case [image, "builds", build, "providers", provider, "images", upload]:
            return _record_trouble(ImageUpload, data, image=image, build_id=build, provider=provider, id=upload)
    return "it is no pause flag, build or upload"


def _record_trouble(kind: type[ImageBuild] | type[ImageUpload], data: bytes, **identity: str) -> str:
    try:
        kind.from_json(data, **identity)
    except BrokenRecord as error:
        return printable(str(error))
    return ""


def _file_trouble(path: str, value: object) -> str:
    parts = path.split("/")
    if parts[:3] != paths.IMAGES.split("/") or not _is_kept(path) or not all(map(is_name, parts[1:])):
        return "it is no path of a pause flag, build or upload"
    if not isinstance(value, str):
        return f"text is expected, found {type(value).__name__}"
    if len(parts) == 10:
        number = parts[-1]
        if not _UPLOAD_NUMBER.fullmatch(number):
            return "the number of an upload has ten digits"
        if int(number) > HIGHEST_NUMBER:
            return f"the number of an upload may not be above {HIGHEST_NUMBER}"
    return _trouble(path, value.encode("utf-8", "surrogatepass"))


def _contradictions(data: Mapping[str, str], tree: Mapping[str, Datum]) -> Iterator[str]:
    for path, text in data.items():
        datum = tree.get(path)
        if datum is not None and datum.data not in (b"", text.encode()):
            yield f"{path}: ZooKeeper holds another record there; remove that, or take it out of the file"
        if "/providers/" in path:
            build = path.partition("/providers/")[0]
            if build not in data and not (build in tree and tree[build].data):
                yield f"{path}: the build of this upload is missing"


def _is_there(path: str, tree: Mapping[str, Datum]) -> bool:
    return path in tree and (bool(tree[path].data) or path.endswith("/pause"))


def _highest_numbers(missing: Iterable[str]) -> dict[str, int]:
    """For each folder of uploads the highest number that is to come into it."""
    highest: dict[str, int] = {}
    for path in missing:
        folder, _, name = path.rpartition("/")
        if "/providers/" in path:
            highest[folder] = max(highest.get(folder, 0), int(name))
    return highest


def _counted(folder: str, highest: int, known: Collection[str]) -> list[Sequence[Operation]]:
    """What advances ZooKeeper's counter of uploads, so that no number up to ``highest`` is given a second time."""
    free = next(path for number in itertools.count() if (path := f"{folder}/{number:010}") not in known)
    return [(Create(free), Delete(free))] * highest


def _write(path: str, data: bytes, present: Datum | None) -> Operation:
    return Create(path, data) if present is None else SetData(path, data, present.version)


def _batches(steps: Iterable[Sequence[Operation]]) -> Iterator[list[Operation]]:
    """The steps in transactions; what belongs to one step stays together."""
    batch: list[Operation] = []
    size = 0
    for step in steps:
        length = sum(_size(operation) for operation in step)
        if batch and (len(batch) + len(step) > BATCH or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch += step
        size += length
    if batch:
        yield batch


def _size(operation: Operation) -> int:
    data = operation.data if isinstance(operation, Create | SetData) else b""
    return len(operation.path) + len(data)
