"""What a cloud's flavors, images, networks and zones make of the labels."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from nodepool.driver.openstack.catalogue import Offer, Stock, make_catalogue
from nodepool.driver.openstack.config import CloudImage
from nodepool.driver.openstack.driver import OpenStackDriver
from nodepool.driver.openstack.flavors import read_flavors
from nodepool.driver.openstack.images import choose_image, read_image
from nodepool.driver.openstack.networks import NetworkRules, sort_networks
from nodepool.model.resources import Resources

NETWORKS = [{"id": "n1", "name": "one"}, {"id": "n2", "name": "two"}, {"id": "n3", "name": "twin"}]
STOCK = Stock(
    flavors=read_flavors(
        [
            {"id": "f1", "name": "small", "ram": 2048, "vcpus": 1},
            {"id": "f2", "name": "large", "ram": 8192, "vcpus": 4},
        ]
    ),
    zones=("az1", "az2"),
    networks=sort_networks([*NETWORKS, {"id": "n4", "name": "twin"}], NetworkRules()),
    images={CloudImage("img", name="img"): "i1"},
)


def offer(label: dict[str, Any] | None = None, stock: Stock = STOCK, pool: dict[str, Any] | None = None) -> Offer | str:
    chosen = {"name": "a", "cloud-image": "img", "min-ram": 1024} | (label or {})
    chosen = {key: value for key, value in chosen.items() if value is not None}
    entry = {
        "name": "p",
        "cloud": "c",
        "cloud-images": [{"name": "img"}, {"name": "gone", "image-id": "i9"}],
        "diskimages": [{"name": "deb"}],
        "pools": [
            {"name": "main", "labels": [chosen, {"name": "good", "cloud-image": "img", "min-ram": 1}], **(pool or {})}
        ],
    }
    config = OpenStackDriver().getProviderConfig(entry)
    config.load(SimpleNamespace(labels={}, diskimages={}, providers={}))
    catalogue = make_catalogue(config.pools, stock, 5.0)
    assert catalogue.read_at == 5.0
    if not pool:
        assert isinstance(catalogue.offers["main", "good"], Offer)
    found = catalogue.offers.get(("main", "a"))
    return catalogue.problems["main", "a"] if found is None else found


def test_an_offer_has_all_that_a_server_needs() -> None:
    found = offer({"networks": ["two", "n1"]})
    assert isinstance(found, Offer)
    assert (found.flavor_id, found.image_id, found.network_ids) == ("f1", "i1", ("n2", "n1"))
    assert found.cost == Resources(instances=1, cores=1, ram=2048)


def test_a_volume_costs_too() -> None:
    found = offer({"boot-from-volume": True, "volume-size": 80})
    assert isinstance(found, Offer)
    assert found.cost == Resources({"instances": 1, "cores": 1, "ram": 2048, "volumes": 1, "volume-gb": 80})


def test_an_uploaded_image_is_named_by_the_order() -> None:
    found = offer({"diskimage": "deb", "cloud-image": None})
    assert isinstance(found, Offer)
    assert found.image_id is None


def test_without_networks_the_default_of_clouds_yaml_is_taken() -> None:
    stock = dataclasses.replace(STOCK, networks=sort_networks(NETWORKS, NetworkRules(default="two")))
    plain, default = offer(), offer(stock=stock)
    assert isinstance(plain, Offer)
    assert isinstance(default, Offer)
    assert (plain.network_ids, default.network_ids) == ((), ("n2",))


def test_without_a_network_service_networks_are_passed_as_they_are() -> None:
    found = offer({"networks": ["some-id"]}, dataclasses.replace(STOCK, networks=None))
    assert isinstance(found, Offer)
    assert found.network_ids == ("some-id",)


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        ({"min-ram": 99999}, "min-ram: the cloud has no flavor with 99999 MiB or more"),
        ({"flavor-name": "huge", "min-ram": None}, "flavor-name: the cloud has no flavor 'huge'"),
        (
            {"flavor-name": "small", "min-ram": 4096},
            "flavor-name: the cloud has no flavor with 'small' in its name and 4096 MiB or more (min-ram)",
        ),
        ({"networks": ["three"]}, "networks: the cloud has no network 'three'"),
        ({"networks": ["twin"]}, "networks: several networks of the cloud have the name 'twin': write the id"),
        (
            {"cloud-image": "gone"},
            "cloud-image 'gone': the cloud has no image with the id 'i9' that can be used",
        ),
    ],
)
def test_a_label_that_does_not_fit_says_which_key_is_wrong(label: dict[str, Any], problem: str) -> None:
    assert offer(label) == problem


def test_an_image_that_is_missing_is_named() -> None:
    stock = dataclasses.replace(STOCK, images={})
    assert "the cloud has no image 'img' that can be used" in str(_problem_of(stock))


def _problem_of(stock: Stock) -> str:
    found = offer(stock=stock, pool={"max-servers": 1})
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize(("zones", "good"), [(["az1"], True), (["az1", "az9"], True), (["az8", "az9"], False)])
def test_one_zone_that_the_cloud_has_is_enough(zones: list[str], good: bool) -> None:
    found = offer(pool={"availability-zones": zones})
    assert isinstance(found, Offer) is good
    if not good:
        assert found == "availability-zones: the cloud has none of az8, az9; it has az1, az2"


def test_the_newest_image_of_a_name_is_chosen_if_it_can_be_used() -> None:
    images = [
        {"id": "a", "status": "active", "created_at": "2026-01-01T00:00:00Z"},
        {"id": "b", "status": "active", "created_at": "2026-03-01T00:00:00Z"},
        {"id": "c", "status": "queued", "created_at": "2026-04-01T00:00:00Z"},
    ]
    assert choose_image(images) == "b"
    assert choose_image(images[2:]) is None
    assert choose_image([]) is None


def test_an_image_tells_whose_it_is() -> None:
    image = read_image(
        {"id": "a", "name": "deb-1", "status": "active", "nodepool_build_id": "b", "nodepool_upload_id": "1", "os": "x"}
    )
    assert (image.external_id, image.name, image.state) == ("a", "deb-1", "active")
    assert image.tags == {"nodepool_build_id": "b", "nodepool_upload_id": "1"}
