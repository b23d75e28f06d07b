"""The clouds of this machine's configuration, asked with its credentials, for commands that need more than records."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from nodepool.driver.adapter import CloudAdapter
from nodepool.driver.bridge import launcher_adapter
from nodepool.driver.contract import Provider, ProviderConfig

CALL_DEADLINE = 60.0
"""Seconds for one call to a cloud."""


@contextlib.contextmanager
def opened(running: Provider, entry: ProviderConfig) -> Iterator[CloudAdapter]:
    """The cloud of a provider that has one, ready to be asked.

    Raises what the driver raises: :class:`~nodepool.driver.errors.CloudError`, and one from outside this package
    anything.
    """
    adapter = launcher_adapter(running, entry)
    running.start(None)
    try:
        adapter.prepare(CALL_DEADLINE)
        yield adapter
    finally:
        adapter.stop()
        running.stop()
