"""What Nova is told about a server that is to be made."""

from __future__ import annotations

from typing import Any

from nodepool.driver.adapter import ATTEMPT_TAG, NODE_TAG, POOL_TAG, PROVIDER_TAG, ServerOrder
from nodepool.driver.openstack.config import ServerSettings
from nodepool.driver.openstack.orders import server_body, server_metadata

TAGS = {NODE_TAG: "0000000012", POOL_TAG: "main", PROVIDER_TAG: "prov", ATTEMPT_TAG: "1"}
REQUEST = {
    "id": "200-0000000001",
    "labels": ["small"],
    "requestor": "zuul",
    "requestor_data": {"job": "tox"},
    "relative_priority": 0,
    "event_id": "e1",
    "created_time": 1.5,
    "tenant_name": "t",
}


def order(az: str | None = None) -> ServerOrder:
    return ServerOrder("0000000012", "np0000000012", "main", "small", TAGS, az=az, request=REQUEST)


def body(settings: ServerSettings, networks: tuple[str, ...] = (), az: str | None = None, auto: bool = True) -> Any:
    return server_body(order(az), settings, {"k": "v"}, "f1", "i1", networks, auto)["server"]


def test_the_least_that_an_order_says() -> None:
    assert body(ServerSettings("deb")) == {
        "name": "np0000000012",
        "flavorRef": "f1",
        "imageRef": "i1",
        "metadata": {"k": "v"},
        "networks": "auto",
    }


def test_an_old_nova_chooses_the_network_without_being_told() -> None:
    assert "networks" not in body(ServerSettings("deb"), auto=False)


def test_all_that_an_order_can_say() -> None:
    settings = ServerSettings(
        "deb",
        key_name="key",
        userdata="#cloud-config\nhostname: ü\n",
        config_drive=False,
        security_groups=("ssh", "web"),
    )
    assert body(settings, networks=("n1", "n2"), az="az1") == {
        "name": "np0000000012",
        "flavorRef": "f1",
        "imageRef": "i1",
        "metadata": {"k": "v"},
        "networks": [{"uuid": "n1"}, {"uuid": "n2"}],
        "availability_zone": "az1",
        "security_groups": [{"name": "ssh"}, {"name": "web"}],
        "key_name": "key",
        "config_drive": False,
        "user_data": "I2Nsb3VkLWNvbmZpZwpob3N0bmFtZTogw7wK",
    }


def test_a_server_that_boots_from_a_volume_takes_it_along_when_it_goes() -> None:
    made = body(ServerSettings("deb", volume_size=80))
    assert "imageRef" not in made
    assert made["block_device_mapping_v2"] == [
        {
            "boot_index": 0,
            "source_type": "image",
            "destination_type": "volume",
            "uuid": "i1",
            "volume_size": 80,
            "delete_on_termination": True,
        }
    ]


def test_metadata_name_groups_properties_and_tags_and_the_tags_win() -> None:
    settings = ServerSettings(
        "deb",
        properties={"team": "infra", NODE_TAG: "mine", "who": "static"},
        dynamic_properties={"who": "{request.requestor} {request.tenant_name}", "job": "{request.requestor_data[job]}"},
    )
    metadata, dropped = server_metadata("prov", order(), settings)
    assert metadata == {"groups": "prov,deb,small", "team": "infra", "who": "zuul t", "job": "tox", **TAGS}
    assert dropped == {}


def test_a_property_that_cannot_be_made_is_left_out_alone() -> None:
    templates = {
        "attribute": "{request.nothing}",
        "key": "{request.requestor_data[nothing]}",
        "syntax": "{request.id",
        "position": "{}",
        "long": "{request.id:>300}",
        "good": "{request.id}",
    }
    metadata, dropped = server_metadata("prov", order(), ServerSettings("deb", dynamic_properties=templates))
    assert metadata["good"] == "200-0000000001"
    assert set(dropped) == {"attribute", "key", "syntax", "position", "long"}
    assert not set(dropped) & set(metadata)
