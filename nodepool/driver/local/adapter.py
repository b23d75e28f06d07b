"""This host as the launcher sees it: a cloud whose servers are processes.

What there is is read from the state directory each time, so that a new process, or another one, sees the same.
"""

from __future__ import annotations

import contextlib
import logging
import os
import uuid
from collections.abc import Sequence
from typing import Any

from nodepool.driver.adapter import CloudAdapter, Leftover, Server, ServerOrder, ServerState
from nodepool.driver.errors import BadLabel, CloudError, Misconfigured, NotFound, QuotaExceeded
from nodepool.driver.image_adapter import IMAGES, uploaded_images
from nodepool.driver.local import host
from nodepool.driver.local.config import CloudImage, LocalLabel, LocalProviderConfig
from nodepool.driver.local.disk import free_bytes
from nodepool.driver.local.images import LocalImages
from nodepool.driver.local.keys import authorized_keys, new_key
from nodepool.driver.local.machine import Image, MachineKind, MachineState, NodePlan, Remains
from nodepool.driver.local.starts import Start, Starts
from nodepool.driver.local.state_directory import NodeNote, StateDirectory
from nodepool.driver.local.wishes import too_much
from nodepool.model.resources import Resources
from nodepool.telemetry.logs import annotate

SPARE_BYTES = 256 << 20
"""Room on the disk that a new machine needs."""
MACHINES = "machines"
"""Kind of left-over processes, as the metric ``nodepool.provider.P.leaked.KIND`` names it."""
REMAINS_AGE = 60.0
"""Seconds between two sightings of a process without a directory."""


class LocalAdapter(CloudAdapter):
    """One provider's view of this host."""

    poll_interval = 0.2

    def __init__(self, config: LocalProviderConfig, state: StateDirectory, kind: MachineKind, starts: Starts) -> None:
        self._config = config
        self._state = state
        self._kind = kind
        self._starts = starts
        self._log = logging.getLogger(f"nodepool.LocalAdapter.{config.name}")
        self.images = LocalImages(config.name, state, kind)
        """For the builder."""
        self.own_addresses = config.host.network.num_addresses > 1

    def prepare(self, deadline: float) -> None:
        """Make the state directory and see whether machines can be made here at all. Raises Misconfigured."""
        self._state.make()
        problems = self._kind.problems()
        if problems:
            raise Misconfigured(f"provider '{self._config.name}': {' '.join(problems)}")
        authorized_keys(self._config.host.authorized_keys)
        for problem in too_much(self._config, host.resources(), self.limits(deadline)):
            self._log.warning("Provider '%s': %s", self._config.name, problem)

    def cost(self, pool: str, label: str) -> Resources:
        """What the label says."""
        return self._label(pool, label).machine.cost

    def limits(self, deadline: float) -> Resources:  # noqa: ARG002 - takes no time
        """What this host has, or what the provider may use of it."""
        return host.limits(self._config.host.max_cores, self._config.host.max_ram)

    # Machines

    def list_servers(self, deadline: float) -> Sequence[Server]:  # noqa: ARG002 - takes no time
        """All machines of this kind in the state directory. Those whose deletion was cut off are removed."""
        notes = [note for note in self._state.notes() if note.kind == self._kind.name]
        return tuple(server for note in notes if (server := self._server(note)) is not None)

    def create_server(self, order: ServerOrder, deadline: float) -> str:  # noqa: ARG002 - takes no time
        """Note a machine and queue its start."""
        label = self._label(order.pool, order.label)
        image = self._image(order, label)
        self._require_room(label.machine.ram)
        allowed = authorized_keys(self._config.host.authorized_keys)
        host_key = new_key()
        settings = self._config.host
        with self._state.exclusive():
            address, port = self._endpoint(order.node_id)
            note = NodeNote(
                id=f"{order.node_id}-{uuid.uuid4().hex[:8]}",
                tags=dict(order.tags),
                kind=self._kind.name,
                image=image.id,
                hostname=order.hostname,
                address=address,
                port=port,
                host_public_key=host_key.public,
                cores=label.machine.cores,
                ram=label.machine.ram,
            )
            hold = self._state.add(note)

        def plan() -> NodePlan:
            return NodePlan(
                id=note.id,
                directory=self._state.directory(note.id),
                hostname=note.hostname,
                image=self._image(order, label),
                cores=note.cores,
                ram=note.ram,
                address=address,
                port=port,
                username=label.machine.username,
                host_key=host_key.private,
                host_public_key=host_key.public,
                authorized_keys=allowed,
                network_access=settings.network_access,
            )

        self._starts.submit(Start(plan, note.id, hold, settings.start_timeout))
        return note.id

    def delete_server(self, external_id: Any, deadline: float) -> None:  # noqa: ARG002 - takes little time
        """End a machine. One that is being started goes as soon as whoever starts it sees it."""
        if self._state.note(external_id) is None:
            raise NotFound(f"there is no machine {external_id}")
        self._state.mark_deleting(external_id)
        self._end(external_id)

    def console_log(self, external_id: Any, deadline: float) -> str | None:  # noqa: ARG002 - takes no time
        """What the machine has printed."""
        if self._state.note(external_id) is None:
            return None
        return self._kind.console(self._state.directory(external_id))

    # What is left

    def leftovers(self, deadline: float) -> Sequence[Leftover]:
        """Processes and mounts without a directory, and images of ours, of which there may be no record."""
        self._state.sweep()
        self.images.purge()
        self.images.sweep_workshops(self._cloud_images())
        directories = frozenset(self._state.directory(note.id) for note in self._state.notes())
        found = [Leftover(MACHINES, remains.id, REMAINS_AGE) for remains in self._kind.remains(directories)]
        if self._config.manage_images:
            found += uploaded_images(self.images.find(deadline))
        return found

    def remove_leftover(self, leftover: Leftover, deadline: float) -> None:
        """End a process, or delete an image; it may be gone already."""
        if leftover.kind == MACHINES:
            self._kind.remove(Remains(leftover.external_id))
        elif leftover.kind == IMAGES:
            with contextlib.suppress(NotFound):
                self.images.delete(leftover.external_id, deadline)

    # Inside

    def _label(self, pool: str, label: str) -> LocalLabel:
        known = self._config.pools.get(pool)
        if known is None or label not in known.labels:
            raise BadLabel(f"provider '{self._config.name}': the pool '{pool}' has no label '{label}'")
        return known.labels[label]

    def _image(self, order: ServerOrder, label: LocalLabel) -> Image:
        if label.machine.cloud_image is not None:
            return self._cloud_image(label.machine.cloud_image)
        if order.image_external_id is None:
            raise BadLabel(f"provider '{self._config.name}', label '{order.label}': no image was named")
        return self.images.get(order.image_external_id)

    def _cloud_image(self, image: CloudImage) -> Image:
        for path in (image.path, image.kernel, image.initrd):
            if path is not None and not os.access(path, os.R_OK):
                raise BadLabel(f"cloud-image '{image.name}': the file {path} is not there, or may not be read")
        disk_format = image.path.suffix.removeprefix(".") or "raw"
        image_id = _cloud_image_id(image)
        return Image(
            image_id,
            image.path,
            disk_format,
            self._state.workshop / image_id,
            image.kernel,
            image.initrd,
            image.kernel_arguments,
        )

    def _cloud_images(self) -> list[str]:
        labels = [label for pool in self._config.pools.values() for label in pool.labels.values()]
        images = [label.machine.cloud_image for label in labels]
        return [_cloud_image_id(image) for image in images if image is not None and image.path.exists()]

    def _require_room(self, ram: int) -> None:
        """Raise QuotaExceeded if memory or disk would not do for another machine now."""
        waiting = sum(note.ram for note in self._state.notes() if self._state.outcome(note.id) is None)
        if not host.has_memory(waiting + ram):
            raise QuotaExceeded(f"this host has not {ram} MiB of memory left for another machine")
        if free_bytes(self._state.nodes) < SPARE_BYTES:
            raise QuotaExceeded(f"the disk of {self._state.nodes} is full: free some space there")

    def _endpoint(self, node_id: str) -> host.Endpoint:
        taken = {(note.address, note.port) for note in self._state.notes()}
        settings = self._config.host
        number = int(node_id) if node_id.isdigit() else 1
        return host.choose_endpoint(settings.network, settings.port, taken, number)

    def _end(self, node_id: str) -> None:
        """Remove a machine that is marked. If somebody is starting it, only end it: he will see, and do the rest."""
        directory = self._state.directory(node_id)
        hold = self._state.hold(node_id)
        if hold is None:
            if self._kind.state(directory) is MachineState.RUNNING:
                self._kind.destroy(directory)
            return
        try:
            self._kind.destroy(directory)
            self._state.forget(node_id)
        finally:
            hold.release()

    def _server(self, note: NodeNote) -> Server | None:
        if self._state.is_deleting(note.id):
            try:
                self._end(note.id)
            except CloudError as error:
                annotate(self._log, node_id=note.id).warning("Machine %s is not gone yet: %s", note.id, error)
            return None if self._state.note(note.id) is None else _server(note, ServerState.DELETING)
        # In this order: the outcome is written before the directory is let go.
        held = self._state.is_held(note.id)
        outcome = self._state.outcome(note.id)
        if outcome is None:
            if held:
                return _server(note, ServerState.BUILDING)
            return _server(note, ServerState.ERROR, CloudError, "the process that was starting it has ended")
        if outcome.fault is not None:
            return _server(note, ServerState.ERROR, outcome.fault, outcome.text)
        if self._kind.state(self._state.directory(note.id)) is not MachineState.RUNNING:
            return _server(note, ServerState.ERROR, CloudError, "the machine has ended by itself")
        return _server(note, ServerState.ACTIVE)


def _cloud_image_id(image: CloudImage) -> str:
    """Another one when the file is replaced."""
    facts = image.path.stat()
    return f"cloud-image-{image.name}-{facts.st_ino}-{facts.st_mtime_ns}".replace("/", "_")


def _server(note: NodeNote, state: ServerState, fault: type[CloudError] | None = None, text: str = "") -> Server:
    return Server(
        external_id=note.id,
        state=state,
        tags=note.tags,
        fault=fault,
        fault_text=text,
        interface_ip=note.address,
        public_ipv4=note.address,
        private_ipv4=note.address,
        host_id=os.uname().nodename,
        resources=note.resources,
        name=note.hostname,
        record={"connection_port": note.port, "host_keys": (note.host_public_key,)},
    )
