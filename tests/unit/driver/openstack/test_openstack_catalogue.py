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
from nodepool.driver.openstack.images import FoundImage, choose_image, read_image
from nodepool.driver.openstack.networks import NetworkRules, sort_networks
from nodepool.model.resources import Resources

NETWORKS = [{"id": "n1", "name": "one"}, {"id": "n2", "name": "two"}, {"id": "n3", "name": "twin"}]
STOCK = Stock(
    flavors=read_flavors(
        [
            {"id": "f1", "name": "small", "ram": 2048, "vcpus": 1, "disk": 10},
            {"id": "f2", "name": "large", "ram": 8192, "vcpus": 4, "disk": 0},
        ]
    ),
    zones=("az1", "az2"),
    networks=sort_networks([*NETWORKS, {"id": "n4", "name": "twin"}], NetworkRules()),
    images={
        CloudImage("img", name="img"): FoundImage("i1"),
        CloudImage("big", name="big"): FoundImage("i2", min_ram=4096, min_disk=20),
        CloudImage("new", name="new"): FoundImage(states=("queued",)),
    },
    image_names=("img", "big"),
    key_pairs=frozenset({"ci", "admin"}),
    security_groups={"sg0": "default", "sg1": "ssh"},
)


def offer(label: dict[str, Any] | None = None, stock: Stock = STOCK, pool: dict[str, Any] | None = None) -> Offer | str:
    chosen = {"name": "a", "cloud-image": "img", "min-ram": 1024} | (label or {})
    chosen = {key: value for key, value in chosen.items() if value is not None}
    entry = {
        "name": "p",
        "cloud": "c",
        "cloud-images": [{"name": "img"}, {"name": "big"}, {"name": "new"}, {"name": "gone", "image-id": "i9"}],
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
        ({"min-ram": 99999}, "min-ram: the cloud has no flavor with 99999 MiB or more; the largest has 8192 MiB"),
        (
            {"flavor-name": "larg", "min-ram": None},
            "flavor-name: the cloud has no flavor 'larg'; it has large, small; did you mean 'large'?",
        ),
        (
            {"flavor-name": "small", "min-ram": 4096},
            "flavor-name: the cloud has no flavor with 'small' in its name and 4096 MiB or more (min-ram); "
            "it has large, small",
        ),
        ({"networks": ["three"]}, "networks: the cloud has no network 'three'; it has one, two"),
        ({"networks": ["twin"]}, "networks: several networks of the cloud have the name 'twin': write the id"),
        (
            {"cloud-image": "gone"},
            "cloud-image 'gone': the cloud has no image with the id 'i9'; it has big, img",
        ),
        ({"cloud-image": "new"}, "cloud-image 'new': the image named 'new' is queued, and must be active"),
        (
            {"cloud-image": "big"},
            "min-ram: the flavor 'small' has 2048 MiB, and the image asks for 4096 (min_ram)",
        ),
        (
            {"cloud-image": "big", "min-ram": 4096, "boot-from-volume": True, "volume-size": 10},
            "volume-size: it is 10 GB, and the image asks for 20 (min_disk)",
        ),
        (
            {"key-name": "Ci"},
            "key-name: the user of clouds.yaml has no key pair 'Ci'; it has admin, ci; did you mean 'ci'?",
        ),
    ],
)
def test_a_label_that_does_not_fit_says_which_key_is_wrong(label: dict[str, Any], problem: str) -> None:
    assert offer(label) == problem


def test_an_image_that_is_missing_is_named() -> None:
    stock = dataclasses.replace(STOCK, images={})
    assert "the cloud has no image named 'img'; it has big, img" in _problem_of(stock)


def test_without_an_image_service_only_labels_with_cloud_images_are_out_of_service() -> None:
    stock = dataclasses.replace(STOCK, images={}, missing={"image": "Keystone's catalogue has no service 'image'"})
    assert _problem_of(stock) == "cloud-image 'img': Keystone's catalogue has no service 'image'"
    assert isinstance(offer({"diskimage": "deb", "cloud-image": None}, stock, {"max-servers": 1}), Offer)


def test_an_image_that_fits_the_disk_is_fine() -> None:
    assert isinstance(offer({"cloud-image": "big", "min-ram": 4096}), Offer), "the flavor's disk is as large as needed"
    flavors = read_flavors([{"id": "f1", "name": "small", "ram": 4096, "vcpus": 1, "disk": 10}])
    found = offer({"cloud-image": "big"}, dataclasses.replace(STOCK, flavors=flavors))
    assert found == "min-ram: the flavor 'small' has a disk of 10 GiB, and the image asks for 20"


def test_security_groups_go_by_name_or_id() -> None:
    assert isinstance(offer(pool={"security-groups": ["ssh", "sg1"]}), Offer)
    problem = "security-groups: the project has no security group 'shh'; it has default, ssh; did you mean 'ssh'?"
    assert offer(pool={"security-groups": ["ssh", "shh"]}) == problem


def test_what_cannot_be_listed_is_believed() -> None:
    stock = dataclasses.replace(STOCK, key_pairs=None, security_groups=None)
    assert isinstance(offer({"key-name": "x"}, stock, {"security-groups": ["y"]}), Offer)


def _problem_of(stock: Stock) -> str:
    found = offer(stock=stock, pool={"max-servers": 1})
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize(("zones", "good"), [(["az1"], True), (["az1", "az9"], True), (["az8", "az9"], False)])
def test_one_zone_that_the_cloud_has_is_enough(zones: list[str], good: bool) -> None:
    found = offer(pool={"availability-zones": zones})
    assert isinstance(found, Offer) is good
    if not good:
        assert found == "availability-zones: the cloud has no zone 'az8', 'az9'; it has az1, az2; did you mean 'az2'?"


def test_the_newest_image_of_a_name_is_chosen_if_it_can_be_used() -> None:
    images = [
        {"id": "a", "status": "active", "created_at": "2026-01-01T00:00:00Z"},
        {"id": "b", "status": "active", "created_at": "2026-03-01T00:00:00Z"},
        {"id": "c", "status": "queued", "created_at": "2026-04-01T00:00:00Z"},
    ]
    assert choose_image(images) == FoundImage("b")
    assert choose_image(images[2:]) == FoundImage(states=("queued",))
    assert choose_image([]) == FoundImage()
    assert choose_image([{**images[0], "min_ram": 512, "min_disk": 3}]) == FoundImage("a", 512, 3)


def test_an_image_tells_whose_it_is() -> None:
    image = read_image(
        {"id": "a", "name": "deb-1", "status": "active", "nodepool_build_id": "b", "nodepool_upload_id": "1", "os": "x"}
    )
    assert (image.external_id, image.name, image.state) == ("a", "deb-1", "active")
    assert image.tags == {"nodepool_build_id": "b", "nodepool_upload_id": "1"}
