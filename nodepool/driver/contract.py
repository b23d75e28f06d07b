"""The public contract of drivers: what somebody who writes a driver subclasses.

The names keep the spelling that driver authors know from Nodepool's developer guide. A driver consists of a
:class:`Driver`, which names a :class:`ProviderConfig` (reads the provider's part of nodepool.yaml) and a
:class:`Provider` (talks to the cloud), and of a :class:`NodeRequestHandler` (makes nodes).

The launcher drives built-in drivers through :attr:`Provider.adapter` or :attr:`Provider.stock`, and any other driver
through :mod:`nodepool.driver.bridge`, which needs nothing but this contract. This module must not import a driver.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nodepool.driver.adapter import CloudAdapter, LabelSettings, PoolSettings, ProviderSettings
from nodepool.driver.image_adapter import ImageAdapter, ImageSettings, ProviderImage
from nodepool.driver.schema import amount, mapping, text
from nodepool.driver.stock import Stock
from nodepool.model.resources import Resources

DEFAULT_PRIORITY = 100
"""Priority of a pool when neither it nor its provider names one; smaller is preferred (spec config 8)."""


@dataclass(frozen=True, slots=True)
class ReferenceProblem:
    """Something in a provider's configuration that does not fit the rest of the file.

    ``path`` leads from the provider's mapping to the key that is wrong: ``("pools", 0, "labels", 1, "name")``.
    ``tolerated``: validation refuses it, but a daemon works on with what the file says, as Nodepool 11 does.
    """

    path: tuple[str | int, ...]
    message: str
    tolerated: bool = False


class Driver(ABC):
    """The entry to a driver; made once per process and never told of a particular provider."""

    name: str = ""
    """The name that ``driver:`` in nodepool.yaml uses; set by the registry before anything else is called."""

    @abstractmethod
    def getProviderConfig(self, provider: dict[str, Any]) -> ProviderConfig:
        """The configuration object for one entry of ``providers``; it is not loaded yet."""

    @abstractmethod
    def getProvider(self, provider_config: ProviderConfig) -> Provider:
        """The provider of a loaded configuration; no I/O before :meth:`Provider.start`."""

    def reset(self) -> None:  # noqa: B027
        """Forget what is kept across configurations; called before the file is read again."""


class ConfigValue:
    """Base of configuration objects: equal if all their attributes are."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


class ConfigLabel(ConfigValue):
    """A label as a pool offers it. Drivers add attributes of their own."""

    def __init__(self, name: str) -> None:
        self.name = name


class ConfigPool(ConfigValue):
    """A pool of a provider. Drivers add attributes of their own and fill ``labels`` in :meth:`load`."""

    def __init__(self) -> None:
        self.name = ""
        self.labels: dict[str, Any] = {}
        """Label name to :class:`ConfigLabel`."""
        self.max_servers: float | None = None
        """Most nodes at once; None: no limit; 0 or less: the pool declines everything."""
        self.priority = DEFAULT_PRIORITY
        self.node_attributes: Mapping[str, Any] | None = None

    def load(self, pool_config: dict[str, Any], full_config: Any, provider: ProviderConfig | None = None) -> None:  # noqa: ARG002
        """Read one entry of ``pools``: here, the keys that all drivers share."""
        inherited = provider.priority if provider else None
        priority = pool_config.get("priority", inherited)
        self.name = pool_config["name"]
        self.max_servers = pool_config.get("max-servers")
        self.priority = DEFAULT_PRIORITY if priority is None else priority
        self.node_attributes = _as_json(pool_config.get("node-attributes"))

    @staticmethod
    def getCommonSchemaDict() -> dict[Any, Any]:
        """Voluptuous keys that every pool accepts beside ``name``, ``labels`` and the driver's own."""
        return {"max-servers": amount, "priority": amount, "node-attributes": mapping}


class ProviderConfig(ABC):
    """One entry of ``providers``. Two are equal if their text is: then a reload keeps the running provider."""

    def __init__(self, driver: Driver, provider: dict[str, Any]) -> None:
        """Must accept a mapping that has not passed the schema yet: it may hold anything."""
        self.driver = driver
        self.provider = provider
        """The entry as it stands in the file."""
        self.name: str = provider.get("name", "")
        self.priority: int | None = provider.get("priority")
        concurrency = provider.get("max-concurrency")
        self.max_concurrency: int = concurrency if isinstance(concurrency, int) and concurrency > 0 else -1
        """Most launches at once; -1: no limit, which 0 and negative numbers mean too (spec config 7, Target)."""

    @property
    @abstractmethod
    def pools(self) -> Mapping[str, ConfigPool]:
        """Pools by name; filled by :meth:`load`."""

    @property
    def manage_images(self) -> bool:
        """Whether the builder uploads images to this provider."""
        return False

    @abstractmethod
    def getSchema(self) -> Any:
        """Voluptuous schema of the provider's mapping, all keys included (:meth:`getCommonSchemaDict`)."""

    @abstractmethod
    def load(self, config: Any) -> None:
        """Read the provider's mapping, which has passed the schema. ``config`` is the whole configuration."""

    def getSupportedLabels(self, pool_name: str | None = None) -> set[str]:
        """Names of the labels that one pool, or all of them, can serve."""
        pools: Iterable[ConfigPool] = self.pools.values() if pool_name is None else (self.pools[pool_name],)
        return {label for pool in pools for label in pool.labels}

    def checkReferences(self, config: Any) -> Iterator[ReferenceProblem]:
        """What does not fit: here, labels of ``pools[].labels`` that the top level lacks (spec config 11).

        ``config`` has mappings ``labels``, ``diskimages`` and ``providers`` (those earlier in the file) by name.
        Called before :meth:`load`, on a mapping that has passed the schema.
        """
        for path, label in _label_references(self.provider):
            if label not in config.labels:
                message = f"the label {label!r} is not in the top-level labels: add it there, or correct the name"
                yield ReferenceProblem(path, message)

    def settings(self) -> ProviderSettings:
        """What the launcher has to know. This default serves drivers that know the public contract only.

        It reads the documented attributes of pools and labels, where a driver sets them. The launcher scans no host
        of such a driver: a node is ready when its handler says so.
        """
        return ProviderSettings(
            name=self.name,
            pools={name: _pool_settings(name, pool) for name, pool in self.pools.items()},
            max_concurrency=self.max_concurrency if self.max_concurrency > 0 else None,
            **{key: value for key in _TIMES if (value := getattr(self, key, None)) is not None},
        )

    def image_settings(self) -> ImageSettings:
        """What the builder has to know. This default serves drivers that know the public contract only.

        It reads the documented attributes: ``diskimages`` by name, each with ``pause`` and ``meta``,
        ``image_name_format``, ``image_upload_timeout`` and ``post_upload_hook``, where a driver sets them.
        """
        known = {name: value for name, key in _UPLOADS.items() if (value := getattr(self, key, None)) is not None}
        images = getattr(self, "diskimages", None) or {}
        return ImageSettings({name: _provider_image(name, image) for name, image in images.items()}, **known)

    @staticmethod
    def getCommonSchemaDict() -> dict[Any, Any]:
        """Voluptuous keys that every provider accepts."""
        return {"name": text, "driver": text, "priority": amount, "max-concurrency": amount}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, ProviderConfig) and self.provider == other.provider

    __hash__ = None  # type: ignore[assignment]


class Provider(ABC):
    """A running provider. Methods may be called from several threads at once and may block unless told otherwise."""

    adapter: CloudAdapter | None = None
    """Set by built-in drivers that launch: how the launcher talks to the cloud."""
    stock: Stock | None = None
    """Set by built-in drivers that register existing hosts."""
    image_adapter: ImageAdapter | None = None
    """Set by built-in drivers that manage images: how the builder talks to the cloud."""

    def start(self, zk_conn: Any) -> None:  # noqa: B027
        """Begin work: connect, read what is needed. May raise; it is called again later then."""

    def stop(self) -> None:  # noqa: B027
        """Begin to end; must not block."""

    def idle(self) -> None:  # noqa: B027
        """End what runs by itself; launches and deletions under way go on."""

    def join(self) -> None:  # noqa: B027
        """Wait until all that :meth:`start` began has ended."""

    def labelReady(self, label: ConfigLabel) -> bool:  # noqa: ARG002
        """Whether the cloud has what the label needs (its image, for instance)."""
        return True

    @abstractmethod
    def listNodes(self) -> Sequence[Any]:
        """All resources there are: objects with ``id`` and a mapping ``metadata`` with the ``nodepool_*`` tags."""

    @abstractmethod
    def cleanupNode(self, node_id: Any) -> None:
        """Start to remove the resource with this external id. Raises :class:`~nodepool.driver.errors.NotFound`."""

    def waitForNodeCleanup(self, node_id: Any) -> None:  # noqa: B027
        """Wait until the resource is gone. The launcher does not call it: it watches :meth:`listNodes`."""

    def startNodeCleanup(self, node: Any) -> None:
        """Start to remove what a node (an object with ``id`` and ``external_id``) uses. Must not wait for the end."""
        self.cleanupNode(node.external_id)

    def cleanupLeakedResources(self) -> None:  # noqa: B027
        """Remove what belongs to no node and is not in :meth:`listNodes` (addresses, volumes); about once a minute."""

    @abstractmethod
    def getRequestHandler(self, poolworker: Any, request: Any) -> NodeRequestHandler:
        """A new handler, made with these two."""

    def uploadImage(
        self,
        provider_image: Any,
        image_name: str,
        filename: str,
        image_type: str | None = None,
        meta: dict[str, Any] | None = None,
        md5: str | None = None,
        sha256: str | None = None,
    ) -> str:
        """Upload an image for a provider that manages images, and wait until it can be used; returns its external id.

        ``provider_image`` is the image's value in ``diskimages`` of the provider's configuration, ``image_name`` the
        name that it gets, ``meta`` the properties that it must bear.
        """
        raise NotImplementedError(f"{type(self).__name__} does not manage images")

    def deleteImage(self, external_id: str) -> None:
        """Delete an uploaded image. Raises :class:`~nodepool.driver.errors.NotFound`."""
        raise NotImplementedError(f"{type(self).__name__} does not manage images")


class ProviderNotifications:
    """Mix-in for a :class:`Provider` that wants to be told."""

    def nodeDeletedNotification(self, node: Any) -> None:
        """The resource of this node has been removed."""


class NodeRequestHandlerNotifications:
    """Mix-in for a :class:`NodeRequestHandler` that wants to be told."""

    def nodeReusedNotification(self, node: Any) -> None:
        """A ready node has been given to a request."""


class NodeRequestHandler(NodeRequestHandlerNotifications, ABC):
    """Makes nodes. One handler is made for each node that the launcher wants, and lives as long as that node."""

    provider: Any = None
    """The :class:`ProviderConfig`; this and the next three are set before :meth:`launch`."""
    pool: Any = None
    """The :class:`ConfigPool`."""
    zk: Any = None
    """Has ``storeNode(node)``: tells the launcher that attributes of the node have changed."""
    manager: Any = None
    """The :class:`Provider`."""

    def __init__(self, pw: Any, request: Any) -> None:
        self.pw = pw
        self.request = request
        self.nodes: list[Any] = []
        """The nodes that the handler was asked for."""

    alive_thread_count: int = 0
    """Launches under way, for information."""

    @abstractmethod
    def launch(self, node: Any) -> None:
        """Start to make a node and return soon.

        ``node`` has the attributes of a node record (spec zookeeper 4.1) and tells what is wanted (``id``, ``type``,
        ``pool``, ``az``, ``hostname``). Set ``external_id`` as early as possible, then addresses, and at the end
        ``state``: ``ready``, ``failed``, or ``aborted`` when the cloud had no room. Raise to have it tried again.
        """

    @property
    @abstractmethod
    def launchesComplete(self) -> bool:
        """Whether nothing is under way any more: every node has its final state. Must not block."""

    def imagesAvailable(self) -> bool:
        """Whether the images that the request needs are there."""
        return True

    def hasProviderQuota(self, node_types: Sequence[str]) -> bool:  # noqa: ARG002
        """Whether the provider could ever hold these labels at once."""
        return True

    def hasRemainingQuota(self, ntype: str) -> bool:  # noqa: ARG002
        """Whether there is room for one more of this label now."""
        return True

    def checkReusableNode(self, node: Any) -> bool:  # noqa: ARG002
        """Whether a ready node may be given to this request."""
        return True


_UPLOADS = {
    "name_format": "image_name_format",
    "upload_timeout": "image_upload_timeout",
    "post_upload_hook": "post_upload_hook",
}
_TIMES = ("launch_retries", "launch_timeout", "boot_timeout")
_LABEL_KEYS = ("username", "connection_type", "connection_port", "python_path", "shell_type", "console_log")


def _pool_settings(name: str, pool: Any) -> PoolSettings:
    return PoolSettings(
        name=name,
        labels={label: _label_settings(label, value) for label, value in pool.labels.items()},
        limits=Resources.limit(
            {
                "instances": _at_least_zero(pool.max_servers),
                "cores": getattr(pool, "max_cores", None),
                "ram": getattr(pool, "max_ram", None),
            }
        ),
        priority=pool.priority,
        node_attributes=pool.node_attributes,
    )


def _label_settings(name: str, label: Any) -> LabelSettings:
    known = {key: value for key in _LABEL_KEYS if (value := getattr(label, key, None)) is not None}
    return LabelSettings(name, host_key_checking=False, **known)


def _provider_image(name: str, image: Any) -> ProviderImage:
    return ProviderImage(name, bool(getattr(image, "pause", False)), getattr(image, "meta", None) or {})


def _as_json(value: Any) -> Any:
    """The value as it comes back from a node record: YAML knows dates and keys that JSON does not."""
    return json.loads(json.dumps(value, default=str))


def _at_least_zero(limit: float | None) -> float | None:
    return limit if limit is None else max(limit, 0)


def _label_references(provider: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for pool_index, pool in enumerate(provider.get("pools") or ()):
        for index, label in enumerate(pool.get("labels") or ()):
            path: tuple[str | int, ...] = ("pools", pool_index, "labels", index)
            if isinstance(label, Mapping):
                yield (*path, "name"), label["name"]
            else:
                yield path, label
