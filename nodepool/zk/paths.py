"""Where everything is in ZooKeeper (spec zookeeper 2). Paths are relative to the chroot."""

from __future__ import annotations

ROOT = "/nodepool"
NODES = "/nodepool/nodes"
REQUESTS = "/nodepool/requests"
REQUEST_LOCKS = "/nodepool/requests-lock"
COMPONENTS = "/nodepool/components"
ELECTIONS = "/nodepool/elections"
IMAGES = "/nodepool/images"
DRAINED = "/nodepool/drained"
"""Ours alone: others in the tree know nothing of it."""
LOCK = "lock"
"""Name of the lock directory below a record; never a record itself."""


def drained(kind: str, name: str) -> str:
    """Flag: a provider (kind ``provider``) or the launcher on a host (kind ``launcher``) is to take nothing new."""
    return f"{DRAINED}/{kind}/{name}"


def node(node_id: str) -> str:
    """Record of a node."""
    return f"{NODES}/{node_id}"


def node_lock(node_id: str) -> str:
    """Lock directory of a node."""
    return f"{NODES}/{node_id}/{LOCK}"


def request(request_id: str) -> str:
    """Record of a node request."""
    return f"{REQUESTS}/{request_id}"


def request_lock(request_id: str) -> str:
    """Lock directory of a node request; it lives outside of the request (spec zookeeper 2.1)."""
    return f"{REQUEST_LOCKS}/{request_id}"


def components(kind: str) -> str:
    """Parent of the ephemeral records of one kind of component (``launcher``, ``builder`` or ``pool``)."""
    return f"{COMPONENTS}/{kind}"


def election(name: str) -> str:
    """Lock directory of an election."""
    return f"{ELECTIONS}/{name}"


def image(image_name: str) -> str:
    """Parent of all that belongs to one disk image."""
    return f"{IMAGES}/{image_name}"


def image_pause(image_name: str) -> str:
    """Flag: no builds of this image (spec zookeeper 4.5)."""
    return f"{IMAGES}/{image_name}/pause"


def build_request(image_name: str) -> str:
    """Flag: a build of this image was asked for by hand (spec zookeeper 4.5)."""
    return f"{IMAGES}/{image_name}/request-build"


def build(image_name: str, build_id: str) -> str:
    """Record of an image build."""
    return f"{IMAGES}/{image_name}/builds/{build_id}"


def upload(image_name: str, build_id: str, provider: str, upload_id: str) -> str:
    """Record of an image upload."""
    return f"{IMAGES}/{image_name}/builds/{build_id}/providers/{provider}/images/{upload_id}"


def builds(image_name: str) -> str:
    """Parent of the builds of an image, and of its build lock."""
    return f"{IMAGES}/{image_name}/builds"


def image_lock(image_name: str) -> str:
    """Lock directory: somebody builds this image (spec zookeeper 6.2)."""
    return f"{IMAGES}/{image_name}/builds/{LOCK}"


def build_lock(image_name: str, build_id: str) -> str:
    """Lock directory: the record of a build is being changed."""
    return f"{build(image_name, build_id)}/{LOCK}"


def build_providers(image_name: str, build_id: str) -> str:
    """Parent of a build's uploads, by provider."""
    return f"{build(image_name, build_id)}/providers"


def uploads(image_name: str, build_id: str, provider: str) -> str:
    """Parent of the uploads of a build to a provider."""
    return f"{build_providers(image_name, build_id)}/{provider}/images"


def uploads_lock(image_name: str, build_id: str, provider: str) -> str:
    """Lock directory: somebody uploads this build to this provider."""
    return f"{uploads(image_name, build_id, provider)}/{LOCK}"


def upload_lock(image_name: str, build_id: str, provider: str, upload_id: str) -> str:
    """Lock directory: the record of an upload is being changed or removed."""
    return f"{upload(image_name, build_id, provider, upload_id)}/{LOCK}"


def parents(path: str) -> list[str]:
    """All parents of a path, topmost first, without ``/`` and the path itself."""
    parts = path.strip("/").split("/")[:-1]
    return ["/" + "/".join(parts[: count + 1]) for count in range(len(parts))]
