"""What a cloud offers, and what that makes of the labels of a provider: flavor, image and networks of each.

Read once and kept until the cloud refuses an order as invalid (spec drivers 2), since it seldom changes. A label that
cannot be served has a problem instead of an offer, and costs no other label anything. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nodepool.driver.openstack.config import CloudImage, OpenStackPool, ServerSettings
from nodepool.driver.openstack.flavors import Flavor, choose_flavor
from nodepool.driver.openstack.networks import NetworkRules, Networks
from nodepool.model.resources import Resources


@dataclass(frozen=True, slots=True)
class Stock:
    """What the cloud has."""

    flavors: tuple[Flavor, ...] = ()
    zones: tuple[str, ...] = ()
    """Those that take servers."""
    networks: Networks | None = None
    """None if the cloud has no network service."""
    rules: NetworkRules = field(default_factory=NetworkRules)
    images: Mapping[CloudImage, str | None] = field(default_factory=dict)
    """Images of the cloud that the labels name, to their ids; None for one that is missing."""


@dataclass(frozen=True, slots=True)
class Offer:
    """How to make a server of a label."""

    settings: ServerSettings
    flavor_id: str
    image_id: str | None
    """None: an uploaded image, whose id is in the order."""
    network_ids: tuple[str, ...]
    cost: Resources


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The offers by pool and label, and why there is none."""

    stock: Stock
    offers: Mapping[tuple[str, str], Offer]
    problems: Mapping[tuple[str, str], str]
    read_at: float
    """Seconds of the adapter's clock."""


def make_catalogue(pools: Mapping[str, OpenStackPool], stock: Stock, read_at: float) -> Catalogue:
    """Work out the offers."""
    offers: dict[tuple[str, str], Offer] = {}
    problems: dict[tuple[str, str], str] = {}
    for pool in pools.values():
        for label in pool.labels.values():
            made = _offer(pool, label.server, stock)
            if isinstance(made, Offer):
                offers[pool.name, label.name] = made
            else:
                problems[pool.name, label.name] = made
    return Catalogue(stock, offers, problems, read_at)


def _offer(pool: OpenStackPool, settings: ServerSettings, stock: Stock) -> Offer | str:
    """The offer for a label, or the problem: which key of nodepool.yaml does not fit the cloud."""
    flavor = choose_flavor(stock.flavors, settings.flavor_name, settings.min_ram)
    if flavor is None:
        return _no_flavor(settings)
    if pool.availability_zones and stock.zones and not set(pool.availability_zones) & set(stock.zones):
        zones = ", ".join(pool.availability_zones)
        return f"availability-zones: the cloud has none of {zones}; it has {', '.join(stock.zones)}"
    image_id = None
    if settings.cloud_image is not None:
        image_id = stock.images.get(settings.cloud_image)
        if image_id is None:
            return _no_image(settings.cloud_image)
    network_ids = _network_ids(settings, stock.networks)
    if isinstance(network_ids, str):
        return network_ids
    return Offer(settings, flavor.id, image_id, network_ids, _cost(flavor, settings))


def _network_ids(settings: ServerSettings, networks: Networks | None) -> tuple[str, ...] | str:
    if networks is None:
        return settings.networks
    if not settings.networks:
        return (networks.default_id,) if networks.default_id else ()
    for name in settings.networks:
        if name in networks.ambiguous:
            return f"networks: several networks of the cloud have the name '{name}': write the id"
        if name not in networks.ids:
            return f"networks: the cloud has no network '{name}'"
    return tuple(networks.ids[name] for name in settings.networks)


def _cost(flavor: Flavor, settings: ServerSettings) -> Resources:
    if settings.volume_size is None:
        return flavor.resources
    return flavor.resources + Resources({"volumes": 1, "volume-gb": settings.volume_size})


def _no_flavor(settings: ServerSettings) -> str:
    if settings.flavor_name is None:
        return f"min-ram: the cloud has no flavor with {settings.min_ram} MiB or more"
    if not settings.min_ram:
        return f"flavor-name: the cloud has no flavor '{settings.flavor_name}'"
    return (
        f"flavor-name: the cloud has no flavor with '{settings.flavor_name}' in its name and {settings.min_ram} MiB "
        "or more (min-ram)"
    )


def _no_image(image: CloudImage) -> str:
    where = f"cloud-image '{image.entry}'"
    if image.id is not None:
        return f"{where}: the cloud has no image with the id '{image.id}' that can be used"
    return f"{where}: the cloud has no image '{image.name}' that can be used"
