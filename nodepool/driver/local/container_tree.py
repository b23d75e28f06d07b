"""The unpacked archive of an image, on which the machines of that image are overlays.

.. code-block:: text

   WORKSHOP/tree   the files, in the ids of containers; there when it is whole
   WORKSHOP/new-*  being unpacked
   WORKSHOP/lock   held by who unpacks
"""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path

from nodepool.driver.errors import CloudError
from nodepool.driver.local import disk
from nodepool.driver.local.container_ids import Ids
from nodepool.driver.local.container_run import remove_tree, run_inside
from nodepool.driver.local.machine import Image, Patience

TREE = "tree"
_NEW = "new-"
_LOCK = "lock"
_UNPACK = "tar --extract --numeric-owner --exclude=./dev --exclude=./proc --exclude=./sys"


def unpack(image: Image, ids: Ids, patience: Patience) -> None:
    """Make the image's tree; whoever comes first does."""
    tree = image.workshop / TREE
    image.workshop.mkdir(parents=True, exist_ok=True)
    with open(image.workshop / _LOCK, "a", encoding="ascii") as lock:
        while not _locked(lock.fileno()):
            patience.pause(0.1)
        if not tree.is_dir():
            _remove_unfinished(image.workshop)
            new = image.workshop / f"{_NEW}{uuid.uuid4().hex}"
            new.mkdir()
            os.chown(new, ids.owner, ids.owner_group)
            # What unpacks keeps the lock, too: it may outlive this process, and nobody must meddle with it then.
            try:
                run_inside(ids, _UNPACK, new, image.content, patience, (lock.fileno(),))
            except CloudError as error:
                raise type(error)(f"{image.content} cannot be unpacked: {error}") from error
            new.rename(tree)


def make_layers(place: Path, ids: Ids) -> None:
    """Make the directories of a machine's overlay. Raises OSError."""
    for name in ("lower", "upper", "work", "root"):
        path = place / name
        path.mkdir(mode=0o755 if name == "upper" else 0o700)
        os.chown(path, ids.owner, ids.owner_group)


def clear(workshop: Path) -> None:
    """Remove an image's tree, which may be in ids that are not this user's. Raises CloudError."""
    if workshop.is_dir():
        with disk.alone(workshop / _LOCK):
            _remove_unfinished(workshop)
            remove_tree(workshop / TREE)


def _remove_unfinished(workshop: Path) -> None:
    """Remove what others left who were killed at unpacking. The caller has the lock."""
    for path in workshop.glob(f"{_NEW}*"):
        remove_tree(path)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
