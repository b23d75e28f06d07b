"""What the launcher works with: its pools, providers and limits, as one immutable value per configuration.

Pure: built from the configuration by :mod:`nodepool.launcher.providers`, replaced as a whole on a reload.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from nodepool.driver.adapter import LabelSettings, PoolSettings, ProviderSettings, Server
from nodepool.driver.stock import Stock
from nodepool.model.resources import Resources

CostOf = Callable[[str, str], Resources]
"""Pool and label to what a node of it uses; raises :class:`nodepool.driver.errors.BadLabel`."""


@dataclass(frozen=True, slots=True)
class LabelRule:
    """What the top level of the configuration says of a label. Times are in seconds, 0 means no limit."""

    min_ready: int = 0
    max_ready_age: int = 0

    @property
    def disabled(self) -> bool:
        """Whether requests for it are declined (``min-ready: -1``)."""
        return self.min_ready < 0


@dataclass(frozen=True, slots=True)
class ProviderSetup:
    """A provider: either a cloud that makes servers, or a stock of registered hosts."""

    settings: ProviderSettings
    cost: CostOf
    stock: Stock | None = None
    poll_interval: float = 1.0
    list_lag: float = 0.0
    doubt: float = 0.0
    """Seconds for which a server that nobody knows of may be missing from a list."""
    zones: Callable[[], Sequence[str]] = tuple
    is_finished: Callable[[str, Server], bool] = lambda _pool, _server: True
    """Pool and active server to whether the server has all that it needs."""
    own_addresses: bool = False
    """Whether each server of a pool has an address of its own."""
    lists_everything: bool = True
    """Whether a server of ours that is missing from a list, or in ERROR there, is dead."""
    has_leftovers: bool = False
    """Whether the driver can look for what servers that are gone have left."""

    @property
    def name(self) -> str:
        """The provider's name."""
        return self.settings.name


@dataclass(frozen=True, slots=True)
class PoolSetup:
    """A pool of this launcher, with the id by which other launchers and ``declined_by`` know it."""

    launcher_id: str
    provider: ProviderSetup
    settings: PoolSettings

    @property
    def key(self) -> tuple[str, str]:
        """Provider and pool name."""
        return self.provider.name, self.settings.name

    def label(self, name: str) -> LabelSettings | None:
        """The pool's settings of a label, None if it does not have it."""
        return self.settings.labels.get(name)


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything that a reload replaces."""

    pools: Mapping[str, PoolSetup] = field(default_factory=dict)
    """By launcher id, in the order of the configuration."""
    providers: Mapping[str, ProviderSetup] = field(default_factory=dict)
    labels: Mapping[str, LabelRule] = field(default_factory=dict)
    max_hold_age: int = 0
    tenant_limits: Mapping[str, Resources] = field(default_factory=dict)

    def pool_of(self, provider: str | None, pool: str | None) -> PoolSetup | None:
        """Our pool of that name."""
        for candidate in self.pools.values():
            if candidate.key == (provider, pool):
                return candidate
        return None

    def pools_of(self, provider: str) -> list[PoolSetup]:
        """Our pools of a provider."""
        return [pool for pool in self.pools.values() if pool.provider.name == provider]
