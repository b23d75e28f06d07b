"""The servers of one region: their lives, faults, and what lists show of them. Pure.

``servers`` is the truth. ``shown`` and ``changes`` are what lists and ``changes-since`` tell: the same, ``list_lag``
seconds late.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tools.cloud.faults import FaultPlan, ServerFault, ServerRule
from tools.cloud.networks import Networking
from tools.cloud.place import Place
from tools.cloud.records import DELETING, Disk, Failure, Nic, Order, Port, Refused, Server, Volume
from tools.cloud.settings import QuotaCheck
from tools.cloud.usage import Amount, Usage
from tools.cloud.volumes import Volumes

_MESSAGES = {
    ServerFault.NO_VALID_HOST: "No valid host was found. There are not enough hosts available.",
    ServerFault.QUOTA: "Quota exceeded for instances: Requested 0, but already used 1 of 0 instances",
    ServerFault.ERROR: "Build of instance {id} aborted: Failed to allocate the network(s), not rescheduling.",
    ServerFault.FAILING_DELETE: "Failed to terminate instance {id}: the hypervisor did not answer.",
}
_BUILD_FAULTS = (ServerFault.NO_VALID_HOST, ServerFault.QUOTA, ServerFault.ERROR)


class Instances:
    """What Nova knows of servers. Calls raise :class:`tools.cloud.records.Refused`."""

    def __init__(self, place: Place, plan: FaultPlan, networking: Networking, volumes: Volumes, tag: str) -> None:
        self._place = place
        self._plan = plan
        self._networking = networking
        self._volumes = volumes
        self._tag = tag
        self._count = 0
        self.usage = Usage()
        self.servers: dict[str, Server] = {}
        self.shown: dict[str, Server] = {}
        """In order of creation."""
        self.changes: dict[str, Server] = {}
        """The last changed last, the deleted among them."""

    def create(self, order: Order) -> Server:
        """Begin to build a server."""
        amount = Amount.of(order.flavor)
        new_ports = sum(not nic.port_id for nic in order.nics)
        try:
            self._check_quota(amount)
            self._networking.check_port_quota(new_ports)
        except Refused:
            self.usage.refused += 1
            raise
        server = self._record(order)
        trouble = self._equip(server)
        self.servers[server.id] = server
        self.usage.begin(amount, self._place.settings.quota)
        self.usage.hold(order.metadata.get(self._tag, ""))
        self._publish(server)
        self._schedule_boot(server, trouble)
        return server

    def delete(self, server: Server) -> None:
        """Begin to delete a server, or begin again."""
        server.deletions += 1
        if server.task != DELETING:
            has_no_host = self._has_no_host(server)
            server.task = DELETING
            self.usage.let_go(server.metadata.get(self._tag, ""))
            if has_no_host:
                self._forget(server)
                return
            self._changed(server)
        if server.ending:
            return
        wait = self._place.chance.seconds(self._place.settings.delete, "delete", server.order.name)
        stuck = self._deletion_fault(server, ServerFault.STUCK_DELETE)
        failing = self._deletion_fault(server, ServerFault.FAILING_DELETE)
        if stuck and stuck.seconds is None:
            return
        server.ending = True
        if failing:
            self._after(wait, lambda: self._deletion_failed(server))
        else:
            self._after(wait + ((stuck.seconds or 0.0) if stuck else 0.0), lambda: self._gone(server))

    def set_metadata(self, server: Server, metadata: dict[str, str]) -> None:
        """Replace the metadata of a server."""
        if server.task != DELETING:
            self.usage.let_go(server.metadata.get(self._tag, ""))
            self.usage.hold(metadata.get(self._tag, ""))
        server.metadata = metadata
        self._changed(server)

    def set_status(self, server: Server, status: str, message: str = "") -> None:
        """Let something happen to a server from outside: ERROR, SHUTOFF, ACTIVE, or DELETED (it is gone)."""
        if status == "DELETED":
            self._vanished(server)
            return
        server.status = status
        server.task = DELETING if server.task == DELETING else None
        server.failure = Failure(500, message, self._place.now) if status == "ERROR" else None
        self._changed(server)

    def refresh_addresses(self, server_id: str) -> None:
        """The ports of a server changed."""
        server = self.servers.get(server_id)
        if server is not None and server.addresses_known and ServerFault.STOLEN_ADDRESS not in server.faults:
            server.addresses = self._networking.addresses_of(server_id)
            self._changed(server)

    def _check_quota(self, amount: Amount) -> None:
        check = self._place.settings.quota_check
        if check is not QuotaCheck.NONE:
            used = self.usage.alive if check is QuotaCheck.API else self.usage.placed
            self.usage.check(used, amount, self._place.settings.quota)

    def _record(self, order: Order) -> Server:
        self._count += 1
        now = self._place.now
        faults = self._plan.for_server(order.name, order.zone, order.flavor.name)
        server = Server(
            id=self._place.identifier("server", order.name),
            number=self._count,
            order=order,
            metadata=dict(order.metadata),
            created=now,
            updated=now,
            faults=faults,
        )
        server.zone = order.zone
        return server

    def _equip(self, server: Server) -> str:
        """Ports and volumes; returns why the build will fail, or "" if it will not."""
        order, owner = server.order, f"compute:{server.order.zone or 'nova'}"
        groups = tuple(
            group.id for name in order.security_groups if (group := self._networking.security_group(name)) is not None
        )
        try:
            for nic in order.nics:
                self._add_port(server, nic, owner, groups)
            server.volumes = tuple(self._add_volume(server, disk) for disk in order.disks)
        except Refused as refusal:
            self.usage.refused += refusal.status in (403, 413)
            return f"Build of instance {server.id} aborted: {refusal.message}"
        return ""

    def _add_port(self, server: Server, nic: Nic, owner: str, groups: tuple[str, ...]) -> Port:
        networking = self._networking
        if nic.port_id:
            port = networking.ports[nic.port_id]
            networking.attach_port(port, server.id, owner)
            return port
        network = networking.networks[nic.network_id]
        return networking.create_port(
            network, device_id=server.id, device_owner=owner, wanted=nic.address, security_groups=groups
        )

    def _add_volume(self, server: Server, disk: Disk) -> Volume:
        volumes = self._volumes
        if disk.volume_id:
            volume = volumes.volumes[disk.volume_id]
        else:
            volume = volumes.create("", disk.size, image_id=disk.image_id, zone=server.zone or "nova")
        volumes.attach(volume, server.id, delete_with_server=disk.delete_with_server)
        return volume

    def _schedule_boot(self, server: Server, trouble: str) -> None:
        wait = self._place.chance.seconds(self._place.settings.boot, "boot", server.order.name)
        fault = next((server.faults[kind] for kind in _BUILD_FAULTS if kind in server.faults), None)
        stuck = server.faults.get(ServerFault.STUCK_BUILD)
        if trouble:
            self._after(wait, lambda: self._failed(server, trouble))
        elif fault:
            message = (fault.message or _MESSAGES[fault.fault]).replace("{id}", server.id)
            self.usage.refused += fault.fault is ServerFault.QUOTA
            self._after(wait, lambda: self._failed(server, message))
        elif stuck is None or stuck.seconds is not None:
            self._after(wait + ((stuck.seconds or 0.0) if stuck else 0.0), lambda: self._booted(server))

    def _booted(self, server: Server) -> None:
        if server.task != "spawning":
            return
        settings = self._place.settings
        amount = Amount.of(server.order.flavor)
        if settings.quota_check is QuotaCheck.SCHEDULER:
            try:
                self.usage.check(self.usage.placed, amount, settings.quota)
            except Refused as refusal:
                self.usage.refused += 1
                self._failed(server, refusal.message)
                return
        server.placed = True
        self.usage.placed += amount
        self._place_on_host(server)
        server.status, server.task, server.launched = "ACTIVE", None, self._place.now
        for port in self._networking.ports_of(server.id):
            self._networking.touch(port, "ACTIVE")
        late = server.faults.get(ServerFault.LATE_ADDRESS)
        if late is None:
            self._find_addresses(server)
        elif late.seconds is not None:
            self._after(late.seconds, lambda: self._address_found(server))
        self._changed(server)
        vanishing = server.faults.get(ServerFault.VANISH)
        if vanishing is not None:
            self._after(vanishing.seconds or 0.0, lambda: self._vanished(server))

    def _place_on_host(self, server: Server) -> None:
        settings = self._place.settings
        if not server.zone:
            fraction = self._place.chance.fraction("zone", server.order.name)
            server.zone = settings.zones[int(fraction * len(settings.zones))]
        fraction = self._place.chance.fraction("host", server.order.name)
        server.host = f"{server.zone}-host-{int(fraction * settings.hosts_per_zone)}"

    def _find_addresses(self, server: Server) -> None:
        server.addresses_known = True
        own = server.addresses = self._networking.addresses_of(server.id)
        if ServerFault.STOLEN_ADDRESS in server.faults:
            victims = (other for other in reversed(self.servers.values()) if other is not server and other.addresses)
            stolen = next((one for one in victims if own and one.addresses[0].network == own[0].network), None)
            if stolen is not None:
                fixed = (entry.address for entry in stolen.addresses if not entry.floating)
                server.addresses = tuple(replace(own[0], address=address) for address in fixed)

    def _address_found(self, server: Server) -> None:
        if server.id in self.servers:
            self._find_addresses(server)
            self._changed(server)

    def _failed(self, server: Server, message: str) -> None:
        if server.task != "spawning":
            return
        server.status, server.task = "ERROR", None
        server.failure = Failure(500, message, self._place.now)
        self._release(server)
        self._changed(server)

    def _deletion_fault(self, server: Server, kind: ServerFault) -> ServerRule | None:
        rule = server.faults.get(kind)
        return rule if rule is not None and server.deletions <= rule.times else None

    def _deletion_failed(self, server: Server) -> None:
        if server.id not in self.servers:
            return
        rule = server.faults[ServerFault.FAILING_DELETE]
        message = (rule.message or _MESSAGES[rule.fault]).replace("{id}", server.id)
        server.ending, server.task, server.status = False, None, "ERROR"
        server.failure = Failure(500, message, self._place.now)
        self.usage.hold(server.metadata.get(self._tag, ""))
        self._changed(server)

    def _vanished(self, server: Server) -> None:
        if server.id in self.servers and server.task != DELETING:
            tag = server.metadata.get(self._tag, "")
            self.usage.let_go(tag)
            self.usage.vanished.append(tag)
        self._gone(server)

    def _has_no_host(self, server: Server) -> bool:
        faults = {ServerFault.STUCK_DELETE, ServerFault.FAILING_DELETE} & server.faults.keys()
        young = self._place.now < server.created + self._place.settings.scheduling
        return server.task == "spawning" and young and not faults

    def _forget(self, server: Server) -> None:
        """It is gone at once, and no list will say so."""
        self._end(server)
        if self._place.settings.list_lag > 0:
            self._after(self._place.settings.list_lag, lambda: self._withdraw(server.id))
        else:
            self._withdraw(server.id)

    def _withdraw(self, server_id: str) -> None:
        self.shown.pop(server_id, None)
        self.changes.pop(server_id, None)

    def _end(self, server: Server) -> None:
        del self.servers[server.id]
        self._release(server)
        amount = Amount.of(server.order.flavor)
        self.usage.end(amount)
        if server.placed:
            self.usage.placed -= amount

    def _gone(self, server: Server) -> None:
        if server.id not in self.servers:
            return
        self._end(server)
        server.status, server.task, server.terminated = "DELETED", None, self._place.now
        self._changed(server)
        self._after(
            self._place.settings.deleted_kept + self._place.settings.list_lag,
            lambda: self.changes.pop(server.id, None),
        )

    def _release(self, server: Server) -> None:
        """Ports and volumes of a server that has failed or is gone."""
        for port in self._networking.ports_of(server.id):
            if ServerFault.LEAK_PORT in server.faults:
                self._networking.touch(port, "DOWN")
            elif any(nic.port_id == port.id for nic in server.order.nics):
                self._networking.attach_port(port, "", "")
            else:
                self._networking.delete_port(port)
        for volume in server.volumes:
            if ServerFault.LEAK_VOLUME in server.faults and server.deletions:
                volume.delete_with_server = False
            self._volumes.let_go(volume)
        server.addresses, server.volumes = (), ()

    def _changed(self, server: Server) -> None:
        server.updated = self._place.now
        server.shown.clear()
        self._publish(server)

    def _publish(self, server: Server) -> None:
        lag = self._place.settings.list_lag
        if lag > 0:
            snapshot = replace(server, shown={})
            self._after(lag, lambda: self._show(snapshot))
        else:
            self._show(server)

    def _show(self, server: Server) -> None:
        newer = self.changes.get(server.id)
        if newer is not None and newer.updated > server.updated:
            return
        if server.status == "DELETED":
            self.shown.pop(server.id, None)
        else:
            self.shown[server.id] = server
        self.changes.pop(server.id, None)
        self.changes[server.id] = server

    def _after(self, seconds: float, event: Callable[[], object]) -> None:
        self._place.timeline.after(seconds, event)
