"""What Nova is told about a server that is to be made (``POST /servers``, Compute API reference).

Pure.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from nodepool.driver.adapter import ServerOrder
from nodepool.driver.openstack.config import ServerSettings
from nodepool.driver.openstack.schema import LONGEST_PROPERTY
from nodepool.driver.openstack.servers import GROUPS_TAG


def server_body(
    order: ServerOrder,
    settings: ServerSettings,
    metadata: Mapping[str, str],
    flavor_id: str,
    image_id: str,
    network_ids: tuple[str, ...],
    automatic_network: bool,
) -> dict[str, Any]:
    """The body of the call.

    :param automatic_network: whether Nova wants to be told that it may choose the network (since 2.37)
    """
    server: dict[str, Any] = {
        "name": order.hostname,
        "flavorRef": flavor_id,
        "metadata": dict(metadata),
    }
    if settings.volume_size is None:
        server["imageRef"] = image_id
    else:
        server["block_device_mapping_v2"] = [_boot_volume(image_id, settings.volume_size)]
    if network_ids:
        server["networks"] = [{"uuid": network_id} for network_id in network_ids]
    elif automatic_network:
        server["networks"] = "auto"
    if order.az is not None:
        server["availability_zone"] = order.az
    if settings.security_groups:
        server["security_groups"] = [{"name": name} for name in settings.security_groups]
    if settings.key_name is not None:
        server["key_name"] = settings.key_name
    if settings.config_drive is not None:
        server["config_drive"] = settings.config_drive
    if settings.userdata is not None:
        server["user_data"] = base64.b64encode(settings.userdata.encode()).decode()
    return {"server": server}


def server_metadata(
    provider: str, order: ServerOrder, settings: ServerSettings
) -> tuple[dict[str, str], dict[str, str]]:
    """The metadata of a server, and why some dynamic properties had to be left out, by name (spec config 9).

    Later ones win: groups, properties, dynamic properties, our own tags.
    """
    metadata = {GROUPS_TAG: f"{provider},{settings.image},{order.label}", **settings.properties}
    dropped = {}
    request = SimpleNamespace(**order.request)
    for name, template in settings.dynamic_properties.items():
        try:
            value = template.format(request=request)
        except (LookupError, ValueError, AttributeError, TypeError) as error:
            dropped[name] = f"{type(error).__name__}: {error}"
            continue
        if len(value) > LONGEST_PROPERTY:
            dropped[name] = f"its value has {len(value)} characters, and {LONGEST_PROPERTY} are allowed"
            continue
        metadata[name] = value
    return {**metadata, **order.tags}, dropped


def _boot_volume(image_id: str, size: int) -> dict[str, Any]:
    return {
        "boot_index": 0,
        "source_type": "image",
        "destination_type": "volume",
        "uuid": image_id,
        "volume_size": size,
        "delete_on_termination": True,
    }
