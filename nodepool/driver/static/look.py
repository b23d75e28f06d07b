"""What the last look at a static host tells, and whether it counts still. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from nodepool.driver.nodescan import ScanRequest
from nodepool.driver.nodescan.request import KEY_CONNECTION_TYPES
from nodepool.driver.static.config import StaticHost
from nodepool.driver.stock import Scanned
from nodepool.model.node import Node

RETRY_INTERVAL = 60.0
"""Most seconds between two looks at a host that fails (spec launcher 3.5), and for which a successful look counts."""
FIRST_RETRY = 1.0
"""Seconds until the second look at a host that does not answer; twice as long after each further one, so that a host
which is rebooted is back soon."""
_STEPS = 6
"""Steps of a look that share its time: connecting, the banner, and a key exchange for each common type."""


def scan_key(provider: str, host: StaticHost) -> Hashable:
    """Names the looks at a host."""
    return (provider, *host.identity, host.connection_type)


def scan_request(provider: str, host: StaticHost) -> ScanRequest:
    """A full look at a host, once: a host that fails is looked at again later."""
    return ScanRequest(
        key=scan_key(provider, host),
        host=host.name,
        port=host.port,
        connection_type=host.connection_type,
        timeout=host.timeout * _STEPS,
        attempt_timeout=host.timeout,
        retry=False,
        group=provider,
    )


def has_host_keys(host: StaticHost) -> bool:
    """Whether the keys of such a host can be read."""
    return host.connection_type in KEY_CONNECTION_TYPES


@dataclass(frozen=True, slots=True)
class Look:
    """The last look at a host, at the time ``now``. A host that must not be contacted looks well at any time."""

    host: StaticHost
    scanned: Scanned | None
    now: float

    @property
    def trouble(self) -> str | None:
        """Why the host cannot be registered, as far as the look tells."""
        if self.scanned is None or not self.host.checked:
            return None
        result = self.scanned.result
        if result.failure is not None:
            return f"{result.failure.value} {result.detail}".strip()
        missing = [key.split()[0] for key in self.host.host_keys if key not in result.host_keys]
        if missing and has_host_keys(self.host):
            return f"The host does not have the configured host-key of type {', '.join(missing)}."
        return None

    @property
    def recent(self) -> bool:
        """Whether the look may still be acted upon."""
        if not self.host.checked:
            return True
        return self.scanned is not None and self.now - self.scanned.time < RETRY_INTERVAL

    @property
    def host_keys(self) -> tuple[str, ...]:
        """The keys to record."""
        if not self.host.checked:
            return self.host.host_keys
        return self.scanned.result.host_keys if self.scanned else ()

    @property
    def address(self) -> str | None:
        """The numeric address that answered."""
        return self.scanned.result.address if self.scanned and self.host.checked else None

    def is_good(self, after: Scanned | None = None) -> bool:
        """Whether the host is well by a look that counts and came after the look ``after``."""
        if not self.host.checked:
            return True
        return self.recent and self.trouble is None and self.scanned is not after

    def newer_than(self, node: Node) -> bool:
        """Whether the look was taken since the record was made, so that it knows better."""
        if not self.host.checked:
            return True
        return self.trouble is None and self.scanned is not None and self.scanned.time >= (node.created_time or 0.0)

    def next_time(self, after: Scanned | None = None) -> float:
        """When to look again if the host is not well (epoch seconds): at once, or a while after it failed."""
        if self.scanned is None or self.scanned is after or self.trouble is None:
            return self.now
        return max(self.now, self.scanned.time + _pause_after(self.scanned.failures))


def _pause_after(failures: int) -> float:
    return min(FIRST_RETRY * 2 ** (failures - 1), RETRY_INTERVAL) if 0 < failures < 10 else RETRY_INTERVAL
