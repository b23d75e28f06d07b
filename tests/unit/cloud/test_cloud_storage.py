"""Images and volumes of a simulated cloud."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.cloud.desk import Desk
from tools.cloud.images import Upload

IMAGES, VOLUMES = "/image/v2/images", "/volume/v3/volumes"
DATA = Upload(7, "md5", "sha512")


def _image(desk: Desk, name: str = "mine", **further: Any) -> str:
    wanted = {"name": name, "disk_format": "qcow2", "container_format": "bare", **further}
    return str(desk.ask("POST", IMAGES, wanted)["id"])


def _names(desk: Desk, query: str) -> list[str]:
    return [image["name"] for image in desk.ask("GET", f"{IMAGES}?{query}")["images"]]


def test_an_image_is_queued_then_active_with_its_checksum() -> None:
    desk = Desk()
    image_id = _image(desk, nodepool_build_id="1", tags=["a"])
    queued = desk.ask("GET", f"{IMAGES}/{image_id}")
    assert (queued["status"], queued["size"], queued["nodepool_build_id"]) == ("queued", None, "1")
    assert desk.refusal("POST", "/compute/v2.1/servers", desk.order(imageRef=image_id))[1].endswith("is not active.")
    assert desk.upload(image_id, DATA).status == 204
    active = desk.ask("GET", f"{IMAGES}/{image_id}")
    assert (active["status"], active["size"], active["checksum"]) == ("active", 7, "md5")
    assert desk.upload(image_id, DATA).status == 409
    desk.create(imageRef=image_id)
    desk.ask("DELETE", f"{IMAGES}/{image_id}")
    assert desk.call("GET", f"{IMAGES}/{image_id}").status == 404
    assert desk.accounting()["uploaded_bytes"] == 7


def test_images_are_found_by_name_tag_and_property() -> None:
    desk = Desk()
    _image(desk, "one", tags=["red"], nodepool_build_id="1")
    _image(desk, "two", tags=["red", "blue"], nodepool_build_id="2")
    assert _names(desk, "") == ["two", "one", "base"]
    assert _names(desk, "name=one") == ["one"]
    assert _names(desk, "tag=red&tag=blue") == ["two"]
    assert _names(desk, "nodepool_build_id=1") == ["one"]
    assert _names(desk, "status=active") == ["base"]
    assert _names(desk, "visibility=private") == ["two", "one"]


def test_lists_of_images_are_paged() -> None:
    desk = Desk()
    for number in range(60):
        _image(desk, f"image{number}")
    names: list[str] = []
    query, pages = "", 0
    while True:
        page = desk.ask("GET", f"{IMAGES}?{query}")
        names += [image["name"] for image in page["images"]]
        pages += 1
        if "next" not in page:
            break
        query = page["next"].partition("?")[2]
    assert (pages, len(names), len(set(names))) == (3, 61, 61)


def test_properties_and_tags_change() -> None:
    desk = Desk()
    image_id = _image(desk, a="1")
    changes = [
        {"op": "add", "path": "/b", "value": "2"},
        {"op": "remove", "path": "/a"},
        {"op": "replace", "path": "/name", "value": "new"},
    ]
    patched = desk.ask("PATCH", f"{IMAGES}/{image_id}", changes)
    assert (patched["name"], patched["b"], "a" in patched) == ("new", "2", False)
    desk.ask("PUT", f"{IMAGES}/{image_id}/tags/x")
    assert desk.ask("GET", f"{IMAGES}/{image_id}")["tags"] == ["x"]
    desk.ask("DELETE", f"{IMAGES}/{image_id}/tags/x")
    assert desk.call("DELETE", f"{IMAGES}/{image_id}/tags/x").status == 404


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"name": "x", "id": "TAKEN"}, 409),
        ({"name": "x", "disk_format": "zip"}, 400),
        ({"name": "x", "size": 3}, 403),
        ({"name": "x", "visibility": "public"}, 403),
        ({"name": "x", "property": 3}, 400),
        ([], 400),
    ],
)
def test_a_bad_image_is_refused(document: Any, status: int) -> None:
    desk = Desk()
    taken = _image(desk)
    if isinstance(document, dict) and document.get("id") == "TAKEN":
        document = document | {"id": taken}
    assert desk.call("POST", IMAGES, document).status == status


def test_what_may_not_be_deleted_stays() -> None:
    desk = Desk()
    base = next(iter(desk.region.images.images))
    protected = _image(desk, protected=True)
    assert desk.call("DELETE", f"{IMAGES}/{base}").status == 403
    assert desk.call("DELETE", f"{IMAGES}/{protected}").status == 403


@pytest.mark.parametrize(("fault", "status"), [("corrupt", "active"), ("stuck", "saving"), ("killed", "killed")])
def test_uploads_go_wrong(fault: str, status: str) -> None:
    desk = Desk({"faults": {"images": [{"fault": fault, "at_most": 1}]}})
    broken, sound = _image(desk, "one"), _image(desk, "two")
    desk.upload(broken, DATA)
    desk.upload(sound, DATA)
    image = desk.ask("GET", f"{IMAGES}/{broken}")
    assert image["status"] == status
    assert fault != "corrupt" or image["checksum"] != "md5"
    assert desk.ask("GET", f"{IMAGES}/{sound}")["checksum"] == "md5"


def test_an_image_quota_counts_what_the_project_has() -> None:
    desk = Desk({"quota": {"images": 1}})
    _image(desk)
    assert desk.call("POST", IMAGES, {"name": "x"}).status == 413


def _disk(desk: Desk, **further: Any) -> dict[str, Any]:
    image = next(iter(desk.region.images.images))
    disk = {"boot_index": "0", "source_type": "image", "destination_type": "volume", "uuid": image, "volume_size": "50"}
    return disk | further


def test_a_server_boots_from_a_new_volume_that_goes_with_it() -> None:
    desk = Desk()
    server_id = desk.create(imageRef="", block_device_mapping_v2=[_disk(desk, delete_on_termination=True)])
    desk.move(5)
    server = desk.show(server_id)
    assert server["image"] == ""
    volume_id = server["os-extended-volumes:volumes_attached"][0]["id"]
    volume = desk.ask("GET", f"{VOLUMES}/{volume_id}")["volume"]
    assert (volume["size"], volume["status"], volume["attachments"][0]["server_id"]) == (50, "in-use", server_id)
    absolute = desk.ask("GET", "/volume/v3/limits")["limits"]["absolute"]
    assert (absolute["totalVolumesUsed"], absolute["totalGigabytesUsed"]) == (1, 50)
    assert desk.refusal("DELETE", f"{VOLUMES}/{volume_id}")[0] == 400
    desk.delete(server_id)
    desk.move(2)
    assert desk.call("GET", f"{VOLUMES}/{volume_id}").status == 404


def test_a_volume_that_is_kept_can_be_used_again() -> None:
    desk = Desk()
    server_id = desk.create(imageRef="", block_device_mapping_v2=[_disk(desk)])
    desk.delete(server_id)
    desk.move(2)
    volume = desk.ask("GET", f"{VOLUMES}/detail")["volumes"][0]
    assert volume["status"] == "available"
    again = {"source_type": "volume", "destination_type": "volume", "uuid": volume["id"]}
    desk.create("np2", imageRef="", block_device_mapping_v2=[again])
    taken = desk.order("np3", imageRef="", block_device_mapping_v2=[again])
    assert desk.refusal("POST", "/compute/v2.1/servers", taken)[0] == 400


def test_metadata_is_added_to_what_a_volume_has() -> None:
    desk = Desk()
    volume = desk.ask("POST", VOLUMES, {"volume": {"size": 1, "metadata": {"a": "1", "b": "1"}}})["volume"]
    path = f"{VOLUMES}/{volume['id']}"
    wanted = {"a": "1", "b": "2", "c": "3"}
    assert desk.ask("POST", f"{path}/metadata", {"metadata": {"b": "2", "c": "3"}})["metadata"] == wanted
    assert desk.ask("GET", path)["volume"]["metadata"] == wanted
    assert desk.call("POST", f"{VOLUMES}/unknown/metadata", {"metadata": {}}).status == 404


def test_a_volume_quota_fails_the_build() -> None:
    desk = Desk({"quota": {"volumes": 1}})
    servers = [desk.create(f"np{n}", imageRef="", block_device_mapping_v2=[_disk(desk)]) for n in range(2)]
    desk.move(5)
    assert [desk.show(server_id)["status"] for server_id in servers] == ["ACTIVE", "ERROR"]
    assert "Maximum number of volumes allowed (1) exceeded" in desk.show(servers[1])["fault"]["message"]
    quota = desk.ask("GET", "/volume/v3/os-quota-sets/x?usage=True")["quota_set"]
    assert (quota["volumes"]["limit"], quota["volumes"]["in_use"]) == (1, 1)
