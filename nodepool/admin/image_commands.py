"""The commands of ``nodepool`` about disk images, one function each (spec cli 2, builder 9).

Each writes its result and returns, or raises :class:`~nodepool.admin.failure.CommandFailed`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from nodepool.admin import aliens, build_log, image_data, image_views, images, listing
from nodepool.admin.failure import CommandFailed
from nodepool.admin.lists import Asked, show_list
from nodepool.admin.operator import Operator, show, show_json, tell, warn
from nodepool.admin.snapshot import is_name, snapshot
from nodepool.admin.table import printable, render
from nodepool.model.component import BUILDER
from nodepool.zk import paths
from nodepool.zk.client import ZooKeeperError
from nodepool.zk.store import Operation


def show_status(operator: Operator, *, detail: bool, as_json: bool) -> None:
    """Show which images are paused or to be built; with ``detail`` also what builders put off after failures."""
    if not detail:
        show_list(operator, listing.images(), Asked(as_json=as_json))
        return
    mirror = snapshot(operator.client, paths.IMAGES)
    now = operator.clock()
    found, put_off = image_views.images(mirror), image_views.backoff(mirror)
    if as_json:
        show_json({"images": found, "backoff": put_off})
    else:
        print(f"Images:\n{render(image_views.STATUS_COLUMNS, image_views.with_ages(found, now))}\n")
        columns, rows = image_views.BACKOFF_COLUMNS, image_views.with_ages(put_off, now)
        print(f"Put off after failures:\n{render(columns, rows)}")
    warn(image_views.problems(mirror))


def build(operator: Operator, image: str) -> None:
    """Have an image built."""
    configured = operator.config.diskimages.get(image)
    if configured is None:
        known = ", ".join(operator.config.diskimages) or "none"
        raise CommandFailed(
            f"Trying to build a non disk-image-builder image: {printable(image)}; this configuration has: {known}"
        )
    if configured.pause:
        raise CommandFailed(f"Skipping build request for image {image}; paused (take 'pause' out of the configuration)")
    if not images.ask_for_build(operator.client, image):
        tell(f"A build of {image} was asked for already, and it is being made")
    if images.is_paused(operator.client, image):
        warn([f"{image} is paused by command: the build waits for 'nodepool image-unpause {image}'"])
    if not _builders(operator):
        warn([f"no nodepool-builder is running: the build of {image} waits for one"])


def pause(operator: Operator, image: str) -> None:
    """Stop builds of an image everywhere."""
    images.pause(operator.client, image, operator.config.diskimages.keys())


def unpause(operator: Operator, image: str) -> None:
    """Allow builds of an image again."""
    images.unpause(operator.client, image, operator.config.diskimages.keys())


def delete_upload(operator: Operator, *, provider: str, image: str, build_id: str, upload_id: str) -> None:
    """Have an upload deleted."""
    images.delete_upload(operator.client, (image, build_id, provider, upload_id), operator.who, operator.clock)


def delete_build(operator: Operator, name: str) -> None:
    """Have a build deleted, with its files and uploads; ``name`` is image, dash, build id."""
    image, dash, build_id = name.rpartition("-")
    if not dash:
        raise CommandFailed(f"Build {printable(name)} (an ID is image, dash, build id) not found")
    images.delete_build(operator.client, image, build_id, operator.who, operator.clock)


def list_aliens(operator: Operator, provider: str | None, *, as_json: bool) -> None:
    """Show images in the clouds that no record knows.

    Raises :class:`CommandFailed`, after all others are shown, if a provider could not be asked.
    """
    found = aliens.search(operator.config, provider)
    # Read after the clouds were: each image that they listed had its record before.
    mirror = snapshot(operator.client, paths.IMAGES)
    rows = [row for one in found for row in aliens.aliens(one, mirror)]
    show(image_views.ALIEN_COLUMNS, rows, as_json)
    asked_for_all = provider is None
    warn(_not_asked(one) for one in found if asked_for_all and not one.can_list)
    failed = [_not_asked(one) for one in found if one.problem and (one.can_list or not asked_for_all)]
    if failed:
        raise CommandFailed("; ".join(failed))


def export_data(operator: Operator, file: str) -> None:
    """Write builds, uploads and pause flags to a file that only its owner may read; all of it or nothing."""
    export = image_data.exported(operator.client.tree([paths.IMAGES]))
    warn(export.problems)
    text = image_data.written(export.data)
    target = Path(file)
    try:
        if target.exists() and not target.is_file():
            target.write_text(text, encoding="utf-8")
        else:
            _replace(target.resolve(), text)
    except OSError as error:
        raise CommandFailed(f"{file}: cannot be written: {error.strerror}") from None


def import_data(operator: Operator, file: str) -> None:
    """Put back what :func:`export_data` wrote. No builder may run meanwhile."""
    try:
        read = image_data.read(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandFailed(f"{file}: cannot be read: {error.strerror}") from None
    except (CommandFailed, UnicodeDecodeError) as error:
        raise CommandFailed(f"{file}: {error}") from None
    _check_quiet(operator)
    warn(read.problems)
    operator.client.ensure(paths.IMAGES)
    transactions = image_data.restoration(read.data, operator.client.tree([paths.IMAGES]))
    for number, operations in enumerate(transactions):
        _commit(operator, operations, f"transaction {number + 1} of {len(transactions)}")


def show_log(operator: Operator, image: str, *, follow: bool) -> None:
    """Write the log of the running or last build that this machine has to standard output."""
    directory = operator.config.build_log_dir
    if not is_name(image):
        raise CommandFailed(f"Image {printable(image)} not found")
    elsewhere = [
        f"build {build.id} of {image} runs on {printable(build.builder or 'another builder')}: its log is there"
        for build in build_log.running_elsewhere(operator.client, image, directory)
    ]
    file = build_log.newest(directory, image)
    if file is None:
        raise CommandFailed("; ".join([f"{directory} has no log of a build of {image}", *elsewhere]))
    warn(elsewhere)
    tell(str(file))
    sys.stdout.flush()
    build_log.show(operator.client, file, sys.stdout.buffer, operator.pause, follow=follow)


def _not_asked(search: aliens.Search) -> str:
    return f"provider {search.provider} could not be asked: {printable(search.problem)}"


def _replace(target: Path, text: str) -> None:
    """Write a file aside and put it in its place."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise


def _check_quiet(operator: Operator) -> None:
    hosts = _builders(operator)
    if hosts:
        raise CommandFailed(
            f"nodepool-builder runs on {', '.join(hosts)}: stop all builders first (one that was killed counts until "
            "its ZooKeeper session is over); nothing was imported"
        )


def _builders(operator: Operator) -> list[str]:
    """The hosts on which builders run."""
    builders = snapshot(operator.client, paths.components(BUILDER)).components
    return sorted({printable((entry.record and entry.record.hostname) or path) for path, entry in builders.items()})


def _commit(operator: Operator, operations: Sequence[Operation], which: str) -> None:
    try:
        operator.client.commit(operations)
    except ZooKeeperError as error:
        raise CommandFailed(f"{which}: {error}; run the command again, it goes on from here") from None
