"""What a create call to Nova asks for: read and checked as Nova does before it takes the order. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from tools.cloud.networks import Network
from tools.cloud.records import Disk, Flavor, Image, Nic, Order, Refused
from tools.cloud.state import Region

_LONGEST = 255
_MOST_ITEMS = 128
_NETWORKS_REQUIRED = (2, 37)


def read_order(region: Region, server: Mapping[str, Any], microversion: tuple[int, int]) -> Order:
    """The order in the ``server`` of a request body. Raises Refused (400, 403 or 409)."""
    if server.get("max_count", 1) != 1 or server.get("min_count", 1) != 1:
        _bad("The simulated cloud makes one server per call")
    flavor = _flavor(region, server.get("flavorRef"))
    disks, root_image = _disks(region, server.get("block_device_mapping_v2") or ())
    image_id = str(server.get("imageRef") or "")
    image = _image(region, image_id or root_image) if image_id or root_image else None
    if image is None and not disks:
        _bad("Invalid imageRef provided.")
    if image is not None:
        _check_size(flavor, image)
    groups = tuple(str(entry.get("name")) for entry in server.get("security_groups") or ())
    for name in groups:
        if region.networking.security_group(name) is None:
            _bad(f"Security group {name} not found.")
    return Order(
        name=_text("name", server.get("name")),
        flavor=flavor,
        image_id="" if disks and not image_id else image_id,
        zone=_zone(region, server.get("availability_zone")),
        nics=_nics(region, server, microversion),
        disks=disks,
        metadata=read_metadata(server.get("metadata") or {}),
        security_groups=groups,
        key_name=_key_name(region, server.get("key_name")),
        config_drive=str(server.get("config_drive")).lower() == "true",
        user_data=server.get("user_data"),
        description=server.get("description"),
        tags=tuple(server.get("tags") or ()),
    )


def read_metadata(metadata: object) -> dict[str, str]:
    """Metadata of a server. Raises Refused (400 or 403)."""
    if not isinstance(metadata, dict):
        _bad(f"Invalid input for field/attribute metadata. Value: {metadata}. {metadata!r} is not of type 'object'")
    for key, value in metadata.items():
        if not isinstance(value, str):
            _bad(f"Invalid input for field/attribute {key}. Value: {value}. {value!r} is not of type 'string'")
        if len(value) > _LONGEST or not 0 < len(key) <= _LONGEST:
            _bad(f"Invalid input for field/attribute {key}. Value: {value}. {value!r} is too long")
    if len(metadata) > _MOST_ITEMS:
        raise Refused(403, f"Maximum number of metadata items exceeds {_MOST_ITEMS}")
    return metadata


def _bad(message: str) -> NoReturn:
    raise Refused(400, message)


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST:
        _bad(f"Invalid input for field/attribute {key}. Value: {value}. It must be a text of 1 to 255 characters")
    return value


def _flavor(region: Region, reference: object) -> Flavor:
    identifier = str(reference or "").rpartition("/")[2]
    flavor = region.flavors.get(identifier)
    return flavor if flavor is not None else _bad(f"Flavor {identifier} could not be found.")


def _image(region: Region, reference: str) -> Image:
    identifier = reference.rpartition("/")[2]
    image = region.images.images.get(identifier)
    if image is None:
        _bad(f"Image {identifier} could not be found.")
    if image.status != "active":
        _bad(f"Image {identifier} is not active.")
    return image


def _check_size(flavor: Flavor, image: Image) -> None:
    if image.min_ram > flavor.ram:
        _bad("Flavor's memory is too small for requested image.")
    if image.min_disk > flavor.disk:
        _bad("Flavor's disk is too small for requested image.")


def _zone(region: Region, wanted: object) -> str:
    zone = str(wanted or "").partition(":")[0]
    return (
        zone if not zone or zone in region.settings.zones else _bad("The requested availability zone is not available")
    )


def _key_name(region: Region, name: object) -> str | None:
    if name is None:
        return None
    return str(name) if name in region.key_pairs else _bad("Invalid key_name provided.")


def _nics(region: Region, server: Mapping[str, Any], microversion: tuple[int, int]) -> tuple[Nic, ...]:
    wanted = server.get("networks")
    if wanted is None and microversion >= _NETWORKS_REQUIRED:
        _bad("Invalid input for field/attribute server. 'networks' is a required property")
    if wanted == "none":
        return ()
    if wanted in (None, "auto", []):
        return (Nic(network_id=_only_network(region).id),)
    if not isinstance(wanted, list):
        _bad(f"Invalid input for field/attribute networks. Value: {wanted}.")
    return tuple(_nic(region, entry) for entry in wanted)


def _nic(region: Region, entry: Mapping[str, Any]) -> Nic:
    if port_id := entry.get("port"):
        port = region.networking.ports.get(port_id)
        if port is None:
            _bad(f"Port {port_id} could not be found.")
        if port.device_id:
            raise Refused(409, f"Port {port_id} is still in use.")
        return Nic(port_id=port_id)
    identifier = str(entry.get("uuid"))
    network = region.networking.networks.get(identifier)
    if network is None:
        _bad(f"Network {identifier} could not be found.")
    if network.external and not network.shared:
        raise Refused(403, f"It is not allowed to create an interface on external network {identifier}")
    return Nic(network_id=identifier, address=str(entry.get("fixed_ip") or ""))


def _only_network(region: Region) -> Network:
    usable = [network for network in region.networking.networks.values() if not network.external or network.shared]
    if len(usable) > 1:
        raise Refused(409, "Multiple possible networks found, use a Network ID to be more specific.")
    return usable[0] if usable else _bad("No networks found for the project")


def _disks(region: Region, mappings: object) -> tuple[tuple[Disk, ...], str]:
    """The volumes, and the image that the first is to be made from."""
    if not isinstance(mappings, list | tuple):
        _bad(f"Invalid input for field/attribute block_device_mapping_v2. Value: {mappings}.")
    disks: list[Disk] = []
    root_image = ""
    for entry in mappings:
        source, target = entry.get("source_type"), entry.get("destination_type", "volume")
        identifier, keep = str(entry.get("uuid") or ""), not _is_true(entry.get("delete_on_termination"))
        if target != "volume":
            continue
        if source == "volume":
            volume = region.volumes.volumes.get(identifier)
            if volume is None or volume.server_id is not None:
                _bad(f"Block Device Mapping is Invalid: failed to get volume {identifier}.")
            disks.append(Disk(not keep, volume_id=identifier))
        else:
            image_id = _image(region, identifier).id if source == "image" else ""
            size = int(entry.get("volume_size") or 0)
            if size <= 0:
                _bad("Block Device Mapping is Invalid: Blank volumes and images need a volume_size.")
            disks.append(Disk(not keep, image_id=image_id, size=size))
            root_image = root_image or image_id
    return tuple(disks), root_image


def _is_true(value: object) -> bool:
    return str(value).lower() in ("true", "1")
