"""Nova's fake hypervisor, told by the metadata of each server how slow it is and how it fails.

``fake-delay``
    Seconds in status BUILD.
``fake-delete-delay``
    Seconds that the deletion takes.
``fake-fault``
    ``abort``: the build fails at once. ``reschedule``: this host refuses it, and the scheduler tries others.
``fake-console``
    Text of the console log.

``tools/openstack.sh`` copies this file into Nova's virtual environment; nothing of Nodepool imports it.
"""

from __future__ import annotations

import time
from typing import Any

from nova import exception
from nova.compute import power_state
from nova.virt import fake, hardware


class ControlledDriver(fake.FakeDriverWithoutFakeNodes):
    """A hypervisor that keeps nothing: after a restart, servers are as they were last known to be."""

    def spawn(self, context: Any, instance: Any, *args: Any, **options: Any) -> None:
        """Build a server, or fail at it."""
        time.sleep(_seconds(instance, "fake-delay"))
        fault = instance.metadata.get("fake-fault")
        if fault == "abort":
            raise exception.BuildAbortException(instance_uuid=instance.uuid, reason="fake-fault")
        if fault == "reschedule":
            raise exception.ComputeResourcesUnavailable(reason="fake-fault")
        super().spawn(context, instance, *args, **options)

    def destroy(self, context: Any, instance: Any, *args: Any, **options: Any) -> None:
        """Delete a server."""
        time.sleep(_seconds(instance, "fake-delete-delay"))
        super().destroy(context, instance, *args, **options)

    def get_console_output(self, context: Any, instance: Any) -> Any:
        """The text that was ordered, or some."""
        del context
        return instance.metadata.get("fake-console") or f"Booting {instance.uuid}\n{instance.hostname} login: "

    def get_info(self, instance: Any, use_cache: bool = True) -> Any:
        """Whether a server runs."""
        if instance.uuid in self.instances or instance.deleted:
            return super().get_info(instance, use_cache)
        state = instance.power_state
        return hardware.InstanceInfo(state=power_state.RUNNING if state is None else state)


def _seconds(instance: Any, key: str) -> float:
    try:
        return float(instance.metadata.get(key, 0))
    except ValueError:
        return 0.0
