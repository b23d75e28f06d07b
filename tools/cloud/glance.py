"""Glance's calls: images without their data. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from tools.cloud.exchange import Answer, Call, answer_json
from tools.cloud.images import Upload
from tools.cloud.records import Image, Refused
from tools.cloud.routes import Route, under
from tools.cloud.timeline import iso

_USUAL_PAGE, _LARGEST_PAGE = 25, 1000
_NEWEST = 16
_OWN_KEYS = {
    "name": "name",
    "disk_format": "disk_format",
    "container_format": "container_format",
    "visibility": "visibility",
    "protected": "protected",
    "os_hidden": "hidden",
    "min_disk": "min_disk",
    "min_ram": "min_ram",
    "tags": "tags",
}
"""Keys that a client may set, and their fields."""
_READ_ONLY = frozenset({"status", "size", "checksum", "created_at", "updated_at", "file", "schema", "self", "owner"})
_NO_FILTERS = frozenset({"limit", "marker", "sort", "sort_key", "sort_dir", "tag", "member_status"})
_FORMATS = frozenset({"ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "ploop", "iso", "gpt", None})


def list_versions(call: Call) -> Answer:
    """GET /."""
    links = [{"rel": "self", "href": f"{call.url('image')}/v2/"}]
    versions = [
        {"id": f"v2.{minor}", "status": "CURRENT" if minor == _NEWEST else "SUPPORTED", "links": links}
        for minor in range(_NEWEST, -1, -1)
    ]
    return answer_json({"versions": versions})


def list_images(call: Call) -> Answer:
    """GET /v2/images, the newest first."""
    parameters = call.request.parameters()
    found = list(_filtered(reversed(call.region.images.images.values()), parameters, call))
    limit = min(int(parameters.get("limit", [str(_USUAL_PAGE)])[-1]), _LARGEST_PAGE)
    marker = parameters.get("marker", [""])[-1]
    if marker:
        last = call.region.images.images.get(marker)
        if last is None:
            raise Refused(404, f"No image found with ID {marker}")
        found = [image for image in found if image.number < last.number]
    document: dict[str, Any] = {
        "images": [_view(image) for image in found[:limit]],
        "first": _link({name: values for name, values in parameters.items() if name != "marker"}),
        "schema": "/v2/schemas/images",
    }
    if len(found) > limit:
        document["next"] = _link(parameters | {"marker": [found[limit - 1].id]})
    return answer_json(document)


def show_image(call: Call) -> Answer:
    """GET /v2/images/ID."""
    return answer_json(_view(_image(call)))


def create_image(call: Call) -> Answer:
    """POST /v2/images."""
    wanted = call.request.json()
    if not isinstance(wanted, dict):
        raise Refused(400, "Provided object does not match schema 'image'")
    for key in wanted.keys() & _READ_ONLY:
        raise Refused(403, f"Attribute '{key}' is read-only.")
    if wanted.get("disk_format") not in _FORMATS:
        raise Refused(400, f"Invalid disk format '{wanted['disk_format']}' for image.")
    if wanted.get("visibility") == "public":
        raise Refused(403, "You are not authorized to complete publicize_image action.")
    texts = [key for key, value in wanted.items() if key not in (*_OWN_KEYS, "id") and not isinstance(value, str)]
    if texts:
        raise Refused(400, f"Provided object does not match schema 'image': {texts[0]} is not of type 'string'")
    image = call.region.images.create(str(wanted.get("name") or ""), str(wanted.get("id") or ""))
    for key, value in wanted.items():
        _set(image, key, value)
    return answer_json(_view(image), 201, {"Location": f"{call.url('image')}/v2/images/{image.id}"})


def upload_data(call: Call) -> Answer:
    """PUT /v2/images/ID/file."""
    empty = Upload(0, "d41d8cd98f00b204e9800998ecf8427e", "")
    call.region.images.upload(_image(call), call.request.upload or empty)
    return Answer(204)


def update_image(call: Call) -> Answer:
    """PATCH /v2/images/ID: JSON patch of properties."""
    image, changes = _image(call), call.request.json()
    for change in changes if isinstance(changes, list) else ():
        key = str(change.get("path", "")).lstrip("/").replace("~1", "/").replace("~0", "~")
        if change.get("op") == "remove":
            if image.properties.pop(key, None) is None:
                raise Refused(409, f"Property {key} does not exist.")
        elif key in _READ_ONLY:
            raise Refused(403, f"Attribute '{key}' is read-only.")
        else:
            _set(image, key, change.get("value"))
    image.updated = call.cloud.now
    return answer_json(_view(image))


def delete_image(call: Call) -> Answer:
    """DELETE /v2/images/ID."""
    call.region.images.delete(_image(call))
    return Answer(204)


def add_tag(call: Call) -> Answer:
    """PUT /v2/images/ID/tags/TAG."""
    image, tag = _image(call), call.arguments[1]
    if tag not in image.tags:
        image.tags.append(tag)
    return Answer(204)


def remove_tag(call: Call) -> Answer:
    """DELETE /v2/images/ID/tags/TAG."""
    image, tag = _image(call), call.arguments[1]
    if tag not in image.tags:
        raise Refused(404, "No tag found")
    image.tags.remove(tag)
    return Answer(204)


def _image(call: Call) -> Image:
    image = call.region.images.images.get(call.arguments[0])
    if image is None:
        raise Refused(404, f"No image found with ID {call.arguments[0]}")
    return image


def _set(image: Image, key: str, value: Any) -> None:
    if key in _OWN_KEYS:
        setattr(image, _OWN_KEYS[key], value)
    elif key != "id":
        image.properties[key] = value


def _filtered(images: Iterable[Image], parameters: dict[str, list[str]], call: Call) -> Iterable[Image]:
    wanted = {name: values[-1] for name, values in parameters.items() if name not in _NO_FILTERS}
    tags = parameters.get("tag", [])
    hidden = wanted.pop("os_hidden", "false").lower() == "true"
    for image in images:
        readable = image.owner == call.region.place.project_id or image.visibility == "public"
        if readable and image.hidden == hidden and all(tag in image.tags for tag in tags):
            view = _view(image) if wanted else {}
            if all(str(view.get(name)).lower() == value.lower() for name, value in wanted.items()):
                yield image


def _link(parameters: dict[str, list[str]]) -> str:
    query = urlencode(parameters, doseq=True)
    return f"/v2/images?{query}" if query else "/v2/images"


def _view(image: Image) -> dict[str, Any]:
    return {
        **image.properties,
        "id": image.id,
        "name": image.name,
        "owner": image.owner,
        "status": image.status,
        "visibility": image.visibility,
        "protected": image.protected,
        "os_hidden": image.hidden,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "size": image.size,
        "virtual_size": None,
        "min_disk": image.min_disk,
        "min_ram": image.min_ram,
        "checksum": image.checksum,
        "os_hash_algo": "sha512" if image.sha512 else None,
        "os_hash_value": image.sha512,
        "tags": image.tags,
        "created_at": iso(image.created),
        "updated_at": iso(image.updated),
        "self": f"/v2/images/{image.id}",
        "file": f"/v2/images/{image.id}/file",
        "schema": "/v2/schemas/image",
    }


ROUTES = (
    Route("GET", "", "image.version.list", list_versions, open=True),
    *under(
        "v2",
        (
            Route("GET", "", "image.version.list", list_versions, open=True),
            Route("GET", "images", "image.image.list", list_images),
            Route("POST", "images", "image.image.create", create_image),
            Route("GET", "images/*", "image.image.show", show_image),
            Route("PATCH", "images/*", "image.image.update", update_image),
            Route("DELETE", "images/*", "image.image.delete", delete_image),
            Route("PUT", "images/*/file", "image.image.upload", upload_data),
            Route("PUT", "images/*/tags/*", "image.image.update", add_tag),
            Route("DELETE", "images/*/tags/*", "image.image.update", remove_tag),
        ),
    ),
)
