"""Asks a cloud what it has, as far as the labels of a provider need it. Few calls, seldom made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nodepool.driver.errors import NotFound
from nodepool.driver.openstack.catalogue import Stock
from nodepool.driver.openstack.config import CloudImage, OpenStackPool
from nodepool.driver.openstack.connection import CloudConnection
from nodepool.driver.openstack.errors import Forbidden, InvalidRequest
from nodepool.driver.openstack.flavors import read_flavors
from nodepool.driver.openstack.images import choose_image
from nodepool.driver.openstack.limits import compute_limits, network_limits, volume_limits
from nodepool.driver.openstack.networks import Networks, networks_with_gateway, sort_networks
from nodepool.model.resources import Resources


def read_stock(cloud: CloudConnection, pools: Iterable[OpenStackPool]) -> Stock:
    """What the cloud has; to be called within a deadline. Raises the errors of drivers."""
    flavors = read_flavors(cloud.entries("compute", "/flavors/detail", "flavors"))
    rules = cloud.network_rules()
    networks: Networks | None = None
    if cloud.has("network"):
        networks = sort_networks(cloud.entries("network", "/networks", "networks"), rules)
    zones = cloud.call("compute", "GET", "/os-availability-zone").body["availabilityZoneInfo"]
    wanted = {label.server.cloud_image for pool in pools for label in pool.labels.values()} - {None}
    return Stock(
        flavors=flavors,
        zones=tuple(sorted(zone["zoneName"] for zone in zones if zone["zoneState"]["available"])),
        networks=networks,
        rules=rules,
        images={image: _find_image(cloud, image) for image in wanted if image is not None},
    )


def read_limits(
    cloud: CloudConnection, boots_from_volume: bool, ports_per_server: int | None
) -> tuple[Resources, Mapping[str, int]]:
    """The limits of the project, and the GB of each volume by id; to be called within a deadline.

    :param ports_per_server: None if the cloud has no network service
    """
    limits = compute_limits(cloud.call("compute", "GET", "/limits").body)
    sizes: dict[str, int] = {}
    if boots_from_volume:
        volumes = cloud.entries("block_storage", "/volumes/detail", "volumes")
        sizes = {volume["id"]: volume["size"] for volume in volumes}
        limits = limits.both(volume_limits(cloud.call("block_storage", "GET", "/limits").body, volumes))
    if ports_per_server is not None:
        limits = limits.both(_network_limits(cloud, ports_per_server))
    return limits, sizes


def nat_destinations(cloud: CloudConnection, networks: Networks) -> frozenset[str]:
    """Ids of the networks to whose addresses floating ones may lead."""
    if networks.nat_destination is not None:
        return frozenset((networks.nat_destination,))
    return networks_with_gateway(cloud.entries("network", "/subnets", "subnets"))


def _network_limits(cloud: CloudConnection, ports_per_server: int) -> Resources:
    """Not every cloud lets a project see these; the others limit it all the same when a server is made."""
    try:
        return network_limits(cloud.call("network", "GET", f"/quotas/{cloud.project_id()}").body, ports_per_server)
    except (Forbidden, NotFound):
        return Resources.limit({})


def _find_image(cloud: CloudConnection, image: CloudImage) -> str | None:
    """The id of an image that can be used: by id, or by name and then by id (spec drivers 2)."""
    if image.name is not None:
        found = choose_image(cloud.entries("image", "/images", "images", {"name": image.name}))
        if found is not None:
            return found
    try:
        answer = cloud.call("image", "GET", f"/images/{image.id or image.name}")
    except (NotFound, InvalidRequest):
        return None
    return choose_image([answer.body])
