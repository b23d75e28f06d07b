"""What Nova's refusal of a new server says of the configuration: which key of nodepool.yaml is wrong. Pure.

Nova tells that only by its texts. Flavors, images and networks by name, key pairs and security groups are looked up
beforehand (:mod:`nodepool.driver.openstack.catalogue`); this is for what cannot be, and for what is gone since.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from nodepool.driver.adapter import ServerOrder
from nodepool.driver.errors import BadLabel, CloudError, NoCapacity, NotFound, Rejected
from nodepool.driver.openstack.config import ServerSettings


@dataclass(frozen=True, slots=True)
class _Rule:
    """A text of Nova's, the key that it is about, and what it means for the label."""

    text: re.Pattern[str]
    key: Callable[[ServerSettings, ServerOrder], str]
    kind: type[CloudError]
    """BadLabel: no server of the label can be made. Rejected: this one could not be."""


def _rule(text: str, key: Callable[[ServerSettings, ServerOrder], str], kind: type[CloudError]) -> _Rule:
    return _Rule(re.compile(text, re.I), key, kind)


def explain_refusal(provider: str, order: ServerOrder, settings: ServerSettings, error: CloudError) -> CloudError:
    """The error to raise for what the call that makes a server has raised; the same one if there is nothing to add."""
    if not isinstance(error, Rejected | NotFound):
        return error
    where = f"provider '{provider}', pool '{order.pool}', label '{order.label}'"
    for rule in _RULES:
        if rule.text.search(str(error)):
            return rule.kind(f"{where}: {rule.key(settings, order)}: {error}")
    # A call that makes something cannot fail for want of it.
    return Rejected(f"{where}: {error}") if isinstance(error, NotFound) else error


def _image(settings: ServerSettings, order: ServerOrder) -> str:
    if settings.cloud_image is not None:
        return f"cloud-image '{settings.cloud_image.entry}'"
    return f"diskimage '{settings.image}', whose upload is recorded as {order.image_external_id}"


def _flavor(settings: ServerSettings, _order: ServerOrder) -> str:
    if settings.flavor_name is None:
        return f"min-ram {settings.min_ram}"
    return f"flavor-name '{settings.flavor_name}'"


def _networks(settings: ServerSettings, _order: ServerOrder) -> str:
    if settings.networks:
        return f"networks [{', '.join(settings.networks)}]"
    return "networks: none is named, and the cloud cannot choose one"


def _zone(_settings: ServerSettings, order: ServerOrder) -> str:
    return f"availability-zones, of which '{order.az}' was chosen"


_RULES = (
    _rule(r"key_name|key ?pair", lambda settings, _: f"key-name '{settings.key_name}'", BadLabel),
    _rule(
        r"security.groups?\b", lambda settings, _: f"security-groups [{', '.join(settings.security_groups)}]", BadLabel
    ),
    _rule(r"user_data|user data", lambda *_: "userdata", BadLabel),
    _rule(r"metadata items", lambda *_: "instance-properties", BadLabel),
    _rule(r"availability zone", _zone, NoCapacity),
    _rule(r"zero disk", lambda *_: "boot-from-volume, without which the flavor cannot be used", BadLabel),
    _rule(r"volume is smaller", lambda settings, _: f"volume-size {settings.volume_size}", BadLabel),
    _rule(r"too small for requested image|flavor disk|disk is smaller", _flavor, BadLabel),
    _rule(r"flavor", _flavor, Rejected),
    _rule(r"multiple possible networks|external network|requires a subnet|allocate a network", _networks, BadLabel),
    _rule(r"network", _networks, Rejected),
    _rule(r"image", _image, Rejected),
)
