"""Asks a cloud what it has, as far as the labels of a provider need it. Few calls, seldom made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import quote

from nodepool.driver.errors import NotFound, Rejected
from nodepool.driver.openstack.catalogue import Stock
from nodepool.driver.openstack.config import CloudImage, OpenStackPool
from nodepool.driver.openstack.connection import CloudConnection
from nodepool.driver.openstack.errors import Forbidden, InvalidRequest
from nodepool.driver.openstack.flavors import read_flavors
from nodepool.driver.openstack.images import FoundImage, choose_image
from nodepool.driver.openstack.limits import compute_limits, network_limits, volume_limits
from nodepool.driver.openstack.networks import Networks, networks_with_gateway, sort_networks
from nodepool.model.resources import Resources

MOST_IMAGES = 1000
"""Most images in one answer of Glance."""


def read_stock(cloud: CloudConnection, pools: Iterable[OpenStackPool]) -> Stock:
    """What the cloud has; to be called within a deadline. Raises the errors of drivers."""
    labels = [label.server for pool in pools for label in pool.labels.values()]
    missing = {service: why for service in ("network", "image") if (why := cloud.missing(service))}
    flavors = read_flavors(cloud.entries("compute", "/flavors/detail", "flavors"))
    rules = cloud.network_rules()
    networks: Networks | None = None
    if "network" not in missing:
        networks = sort_networks(cloud.entries("network", "/networks", "networks"), rules)
    wanted = {label.cloud_image for label in labels if label.cloud_image is not None}
    images = {} if "image" in missing else {image: _find_image(cloud, image) for image in wanted}
    lacking = any(image.id is None for image in images.values())
    return Stock(
        flavors=flavors,
        zones=_zones(cloud),
        networks=networks,
        rules=rules,
        images=images,
        image_names=_image_names(cloud) if lacking else (),
        key_pairs=_key_pairs(cloud) if any(label.key_name for label in labels) else None,
        security_groups=_security_groups(cloud) if networks and any(one.security_groups for one in labels) else None,
        missing=missing,
    )


def read_limits(
    cloud: CloudConnection, boots_from_volume: bool, ports_per_server: int | None, without_address: int | None = None
) -> tuple[Resources, Mapping[str, int]]:
    """The limits of the project, and the GB of each volume by id; to be called within a deadline.

    :param ports_per_server: None if the cloud has no network service
    :param without_address: see :func:`nodepool.driver.openstack.limits.network_limits`
    """
    limits = compute_limits(cloud.call("compute", "GET", "/limits").body)
    sizes: dict[str, int] = {}
    if boots_from_volume and cloud.missing("block_storage") is None:
        volumes = cloud.entries("block_storage", "/volumes/detail", "volumes")
        sizes = {volume["id"]: volume["size"] for volume in volumes}
        limits = limits.both(volume_limits(cloud.call("block_storage", "GET", "/limits").body, volumes))
    if ports_per_server is not None:
        limits = limits.both(_network_limits(cloud, ports_per_server, without_address))
    return limits, sizes


def nat_destinations(cloud: CloudConnection, networks: Networks) -> frozenset[str]:
    """Ids of the networks to whose addresses floating ones may lead."""
    if networks.nat_destination is not None:
        return frozenset((networks.nat_destination,))
    return networks_with_gateway(cloud.entries("network", "/subnets", "subnets"))


def _network_limits(cloud: CloudConnection, ports_per_server: int, without_address: int | None) -> Resources:
    """Not every cloud lets a project see these; the others limit it all the same when a server is made."""
    try:
        quota = cloud.call("network", "GET", f"/quotas/{cloud.project_id()}").body
    except (Forbidden, NotFound):
        return Resources.limit({})
    return network_limits(quota, ports_per_server, without_address)


def _zones(cloud: CloudConnection) -> tuple[str, ...]:
    """Zones that take servers; none are known where a project may not see them."""
    try:
        zones = cloud.call("compute", "GET", "/os-availability-zone").body["availabilityZoneInfo"]
    except (Forbidden, NotFound):
        return ()
    return tuple(sorted(zone["zoneName"] for zone in zones if zone["zoneState"]["available"]))


def _find_image(cloud: CloudConnection, image: CloudImage) -> FoundImage:
    """An image by id, or by name and then by id (spec drivers 2)."""
    by_name = FoundImage()
    if image.name is not None:
        by_name = choose_image(cloud.entries("image", "/images", "images", {"name": image.name}))
        if by_name.id is not None:
            return by_name
    try:
        answer = cloud.call("image", "GET", f"/images/{quote(image.id or image.name or '', safe='')}")
    except (NotFound, InvalidRequest):
        return by_name
    return choose_image([answer.body])


def _image_names(cloud: CloudConnection) -> tuple[str, ...]:
    """Names for a message; of a cloud with very many images some will do."""
    try:
        images = cloud.call("image", "GET", "/images", params={"status": "active", "limit": MOST_IMAGES}).body["images"]
    except Rejected:
        return ()
    return tuple(str(image["name"]) for image in images if image.get("name"))


def _key_pairs(cloud: CloudConnection) -> frozenset[str] | None:
    try:
        answer = cloud.call("compute", "GET", "/os-keypairs").body
    except (Forbidden, NotFound):
        return None
    if answer.get("keypairs_links"):
        # There are more than one answer holds; Nova will say it if the one is missing.
        return None
    return frozenset(entry["keypair"]["name"] for entry in answer["keypairs"])


def _security_groups(cloud: CloudConnection) -> Mapping[str, str] | None:
    try:
        entries = cloud.entries("network", "/security-groups", "security_groups", {"fields": ["id", "name"]})
    except (Forbidden, NotFound):
        return None
    return {entry["id"]: entry["name"] for entry in entries}
