"""What a cloud offers, and what that makes of the labels of a provider: flavor, image and networks of each.

Read once and kept until the cloud refuses an order as invalid (spec drivers 2), since it seldom changes. A label that
cannot be served has a problem instead of an offer, and costs no other label anything. A problem names the key of
nodepool.yaml that does not fit the cloud, and what there is instead. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from nodepool.driver.openstack.config import CloudImage, OpenStackPool, ServerSettings
from nodepool.driver.openstack.flavors import Flavor, choose_flavor
from nodepool.driver.openstack.images import FoundImage
from nodepool.driver.openstack.networks import NetworkRules, Networks
from nodepool.driver.openstack.suggestions import there_are
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
    images: Mapping[CloudImage, FoundImage] = field(default_factory=dict)
    """Images of the cloud that the labels name."""
    image_names: tuple[str, ...] = ()
    """Names of others, if one of them is missing."""
    key_pairs: frozenset[str] | None = None
    """Names; None if no label names one, or they cannot be listed."""
    security_groups: Mapping[str, str] | None = None
    """Id to name; None if no pool names one, or they cannot be listed."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Services that the cloud lacks, with the reason."""


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
    remarks: tuple[str, ...]
    """What the operator should know, though it costs no label its offer."""
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
    return Catalogue(stock, offers, problems, tuple(_remarks(pools, stock)), read_at)


def _remarks(pools: Mapping[str, OpenStackPool], stock: Stock) -> Iterator[str]:
    for pool in pools.values():
        unknown = sorted(set(pool.availability_zones) - set(stock.zones)) if stock.zones else []
        if unknown and len(unknown) < len(set(pool.availability_zones)):
            there = f"the cloud has no zone {_named(unknown)}; {there_are(unknown[0], stock.zones)}"
            yield f"pool '{pool.name}', availability-zones: only some can be used: {there}"


def _offer(pool: OpenStackPool, settings: ServerSettings, stock: Stock) -> Offer | str:
    """The offer for a label, or the problem."""
    flavor = choose_flavor(stock.flavors, settings.flavor_name, settings.min_ram)
    if flavor is None:
        return _no_flavor(settings, stock)
    if pool.availability_zones and stock.zones and not set(pool.availability_zones) & set(stock.zones):
        unknown = sorted(set(pool.availability_zones))
        there = there_are(unknown[0], stock.zones)
        return f"availability-zones: the cloud has no zone {_named(unknown)}; {there}"
    image_id = None
    if settings.cloud_image is not None:
        image = stock.images.get(settings.cloud_image, FoundImage())
        image_id = image.id
        problem = (
            _no_image(settings.cloud_image, image, stock) if image_id is None else _misfit(settings, flavor, image)
        )
        if problem is not None:
            return problem
    network_ids = _network_ids(settings, stock)
    if isinstance(network_ids, str):
        return network_ids
    problem = _not_in_project(settings, stock)
    if problem is not None:
        return problem
    return Offer(settings, flavor.id, image_id, network_ids, _cost(flavor, settings))


def _network_ids(settings: ServerSettings, stock: Stock) -> tuple[str, ...] | str:
    networks = stock.networks
    if networks is None:
        return settings.networks
    if not settings.networks:
        return (networks.default_id,) if networks.default_id else ()
    for name in settings.networks:
        if name in networks.ambiguous:
            return f"networks: several networks of the cloud have the name '{name}': write the id"
        if name not in networks.ids:
            there = there_are(name, networks.ids.keys() - set(networks.ids.values()))
            return f"networks: the cloud has no network '{name}'; {there}"
    return tuple(networks.ids[name] for name in settings.networks)


def _cost(flavor: Flavor, settings: ServerSettings) -> Resources:
    if settings.volume_size is None:
        return flavor.resources
    return flavor.resources + Resources({"volumes": 1, "volume-gb": settings.volume_size})


def _no_flavor(settings: ServerSettings, stock: Stock) -> str:
    largest = max((flavor.ram for flavor in stock.flavors), default=0)
    if settings.flavor_name is None:
        return f"min-ram: the cloud has no flavor with {settings.min_ram} MiB or more; the largest has {largest} MiB"
    there = there_are(settings.flavor_name, (flavor.name for flavor in stock.flavors))
    if not settings.min_ram:
        return f"flavor-name: the cloud has no flavor '{settings.flavor_name}'; {there}"
    return (
        f"flavor-name: the cloud has no flavor with '{settings.flavor_name}' in its name and {settings.min_ram} MiB "
        f"or more (min-ram); {there}"
    )


def _no_image(wanted: CloudImage, image: FoundImage, stock: Stock) -> str:
    where = f"cloud-image '{wanted.entry}'"
    if "image" in stock.missing:
        return f"{where}: {stock.missing['image']}"
    by, name = ("with the id", wanted.id) if wanted.id is not None else ("named", str(wanted.name))
    if image.states:
        return f"{where}: the image {by} '{name}' is {', '.join(image.states)}, and must be active"
    return f"{where}: the cloud has no image {by} '{name}'; {there_are(name, stock.image_names)}"


def _misfit(settings: ServerSettings, flavor: Flavor, image: FoundImage) -> str | None:
    """Why Nova would not put an image on a flavor; GET /images/ID tells what it asks for."""
    where = f"the flavor '{flavor.name}' has"
    if image.min_ram > flavor.ram:
        return f"{_flavor_key(settings)}: {where} {flavor.ram} MiB, and the image asks for {image.min_ram} (min_ram)"
    if settings.volume_size is not None and image.min_disk > settings.volume_size:
        return f"volume-size: it is {settings.volume_size} GB, and the image asks for {image.min_disk} (min_disk)"
    if settings.volume_size is None and flavor.disk and image.min_disk > flavor.disk:
        return f"{_flavor_key(settings)}: {where} a disk of {flavor.disk} GiB, and the image asks for {image.min_disk}"
    return None


def _not_in_project(settings: ServerSettings, stock: Stock) -> str | None:
    """A key pair or security group that the project does not have."""
    if settings.key_name is not None and stock.key_pairs is not None and settings.key_name not in stock.key_pairs:
        there = there_are(settings.key_name, stock.key_pairs)
        return f"key-name: the user of clouds.yaml has no key pair '{settings.key_name}'; {there}"
    groups = stock.security_groups or {}
    for name in settings.security_groups if stock.security_groups is not None else ():
        if name not in groups and name not in groups.values():
            return f"security-groups: the project has no security group '{name}'; {there_are(name, groups.values())}"
    return None


def _flavor_key(settings: ServerSettings) -> str:
    return "min-ram" if settings.flavor_name is None else "flavor-name"


def _named(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
