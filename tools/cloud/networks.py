"""Networks, ports, floating addresses and security groups of one region. Pure.

Who has addresses on a port is told by ``on_change``, so that a server always shows what its ports have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tools.cloud.addresses import AddressPool
from tools.cloud.place import Place
from tools.cloud.records import Address, FloatingIp, Port, Refused, SecurityGroup
from tools.cloud.settings import UNLIMITED, NetworkSettings


@dataclass(slots=True, eq=False)
class Subnet:
    """A subnet with its addresses."""

    id: str
    network_id: str
    name: str
    pool: AddressPool

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.pool.network.version


@dataclass(slots=True, eq=False)
class Network:
    """A network."""

    id: str
    name: str
    external: bool
    shared: bool
    created: float
    subnets: tuple[Subnet, ...]


class Networking:
    """What Neutron knows. Calls raise :class:`tools.cloud.records.Refused`."""

    def __init__(self, place: Place, on_change: Callable[[str], None]) -> None:
        self._place = place
        self._on_change = on_change
        self.networks: dict[str, Network] = {}
        self.subnets: dict[str, Subnet] = {}
        self.ports: dict[str, Port] = {}
        self.floating_ips: dict[str, FloatingIp] = {}
        self.security_groups: dict[str, SecurityGroup] = {}
        self._by_device: dict[str, list[Port]] = {}
        self._attached: dict[str, list[FloatingIp]] = {}
        self._macs = 0
        self._provided: dict[str, str] = {}
        """Networks of the settings, name to id."""
        self.provide()

    def provide(self) -> None:
        """Have the networks and security groups of the settings; networks of earlier ones go."""
        wanted = [settings.name for settings in self._place.settings.networks]
        for name in [name for name in self._provided if name not in wanted]:
            del self.networks[self._provided.pop(name)]
        for settings in self._place.settings.networks:
            if settings.name not in self._provided:
                self._provided[settings.name] = self._add_network(settings).id
        for name in ("default", *self._place.settings.security_groups):
            if self.security_group(name) is None:
                self.create_security_group(name, f"{name} security group")

    def ports_of(self, device_id: str) -> tuple[Port, ...]:
        """The ports of a server."""
        return tuple(self._by_device.get(device_id, ()))

    def network(self, name_or_id: str) -> Network | None:
        """The network, if there is one."""
        return self.networks.get(name_or_id) or next(
            (network for network in self.networks.values() if network.name == name_or_id), None
        )

    def security_group(self, name_or_id: str) -> SecurityGroup | None:
        """The security group, if there is one."""
        return self.security_groups.get(name_or_id) or next(
            (group for group in self.security_groups.values() if group.name == name_or_id), None
        )

    def check_port_quota(self, more: int) -> None:
        """Refuse, as Nova does, when there is no room for so many more ports."""
        limit = self._place.settings.quota.ports
        if limit != UNLIMITED and len(self.ports) + more > limit:
            raise Refused(403, "Maximum number of ports exceeded")

    def create_port(
        self,
        network: Network,
        *,
        device_id: str = "",
        device_owner: str = "",
        name: str = "",
        wanted: str = "",
        security_groups: tuple[str, ...] = (),
    ) -> Port:
        """A new port with an address of each subnet of the network."""
        self._check_quota("port", len(self.ports), self._place.settings.quota.ports)
        fixed = self._take_addresses(network, wanted)
        self._macs += 1
        digits = f"{self._macs:06x}"
        now = self._place.now
        port = Port(
            id=self._place.identifier("port", device_id or name),
            network_id=network.id,
            mac=f"fa:16:3e:{digits[:2]}:{digits[2:4]}:{digits[4:]}",
            fixed=fixed,
            device_id=device_id,
            device_owner=device_owner,
            name=name,
            security_groups=security_groups,
            created=now,
            updated=now,
        )
        self.ports[port.id] = port
        if device_id:
            self._by_device.setdefault(device_id, []).append(port)
        return port

    def attach_port(self, port: Port, device_id: str, device_owner: str) -> None:
        """Give an existing port to a server, or with "" take it away."""
        if port.device_id:
            self._forget_device(port)
        port.device_id, port.device_owner = device_id, device_owner
        if device_id:
            self._by_device.setdefault(device_id, []).append(port)
        self.touch(port, port.status if device_id else "DOWN")

    def touch(self, port: Port, status: str) -> None:
        """A port changes to ``status``."""
        port.status, port.updated, port.shown = status, self._place.now, None

    def delete_port(self, port: Port) -> None:
        """Remove a port; its floating addresses stay, attached to nothing."""
        for floating in self._attached.pop(port.id, ()):
            self._detach(floating)
        del self.ports[port.id]
        self._forget_device(port)
        for subnet_id, address in port.fixed:
            self.subnets[subnet_id].pool.give_back(address)
        self._on_change(port.device_id)

    def addresses_of(self, device_id: str) -> tuple[Address, ...]:
        """All addresses of a server."""
        found = []
        for port in self._by_device.get(device_id, ()):
            network = self.networks[port.network_id].name
            found += [Address(network, address, port.mac) for _, address in port.fixed]
            found += [
                Address(network, floating.address, port.mac, True) for floating in self._attached.get(port.id, ())
            ]
        return tuple(found)

    def create_floating_ip(
        self, network: Network, port: Port | None, fixed_address: str | None, description: str = ""
    ) -> FloatingIp:
        """A new floating address, attached to ``port`` if there is one."""
        self._check_quota("floatingip", len(self.floating_ips), self._place.settings.quota.floating_ips)
        subnet = next((subnet for subnet in network.subnets if subnet.version == 4), None)
        address = subnet.pool.take() if subnet and network.external else None
        if address is None:
            message = f"External network {network.id} has no floating addresses to give."
            raise Refused(
                409 if network.external else 400,
                f"No more IP addresses available on network {network.id}." if network.external else message,
                "ExternalIpAddressExhausted" if network.external else "BadRequest",
            )
        now = self._place.now
        floating = FloatingIp(self._place.identifier("floating", address), network.id, address, now, now, description)
        self.floating_ips[floating.id] = floating
        if port is not None:
            self.associate(floating, port, fixed_address)
        return floating

    def associate(self, floating: FloatingIp, port: Port | None, fixed_address: str | None = None) -> None:
        """Attach a floating address to a port, or with None detach it."""
        if floating.port is not None:
            self._attached[floating.port.id].remove(floating)
            device = floating.port.device_id
            self._detach(floating)
            self._on_change(device)
        if port is None:
            return
        usable = [address for _, address in port.fixed if ":" not in address]
        floating.fixed_address = fixed_address or next(iter(usable), None)
        if floating.fixed_address not in usable:
            message = f"Port {port.id} does not have fixed ip {fixed_address}."
            raise Refused(400, f"Bad floatingip request: {message}", "BadRequest")
        floating.port, floating.updated = port, self._place.now
        self._attached.setdefault(port.id, []).append(floating)
        wait = self._place.chance.seconds(self._place.settings.floating_ip, "floating", floating.id)
        self._place.timeline.after(wait, lambda: self._arrived(floating, port))

    def delete_floating_ip(self, floating: FloatingIp) -> None:
        """Release a floating address."""
        self.associate(floating, None)
        del self.floating_ips[floating.id]
        for subnet in self.networks[floating.network_id].subnets:
            subnet.pool.give_back(floating.address)

    def create_security_group(self, name: str, description: str) -> SecurityGroup:
        """A new security group without rules."""
        self._check_quota("security_group", len(self.security_groups), self._place.settings.quota.security_groups)
        group = SecurityGroup(self._place.identifier("group", name), name, description, self._place.now)
        self.security_groups[group.id] = group
        return group

    def delete_security_group(self, group: SecurityGroup) -> None:
        """Remove a security group that no port uses."""
        if any(group.id in port.security_groups for port in self.ports.values()):
            raise Refused(409, f"Security Group {group.id} in use.", "SecurityGroupInUse")
        del self.security_groups[group.id]

    def _add_network(self, settings: NetworkSettings) -> Network:
        identifier = self._place.identifier("network", settings.name)
        cidrs = [cidr for cidr in (settings.cidr, settings.cidr6) if cidr]
        subnets = []
        for cidr in cidrs:
            pool = AddressPool(cidr, settings.addresses if ":" not in cidr else (), self._place.settings.address_reuse)
            name = f"{settings.name}-v{pool.network.version}"
            subnets.append(Subnet(self._place.identifier("subnet", name), identifier, name, pool))
        network = Network(
            identifier, settings.name, settings.external, settings.shared, self._place.now, tuple(subnets)
        )
        self.networks[network.id] = network
        self.subnets |= {subnet.id: subnet for subnet in subnets}
        return network

    def _take_addresses(self, network: Network, wanted: str) -> tuple[tuple[str, str], ...]:
        taken: list[tuple[str, str]] = []
        for subnet in network.subnets:
            fits = wanted and (":" in wanted) == (subnet.version == 6)
            address = subnet.pool.take(wanted if fits else "")
            if address is None:
                for subnet_id, given in taken:
                    self.subnets[subnet_id].pool.give_back(given)
                message = f"No more IP addresses available on network {network.id}."
                raise Refused(409, message, "IpAddressGenerationFailure")
            taken.append((subnet.id, address))
        return tuple(taken)

    def _forget_device(self, port: Port) -> None:
        ports = self._by_device.get(port.device_id)
        if ports is not None:
            ports.remove(port)
            if not ports:
                del self._by_device[port.device_id]

    def _detach(self, floating: FloatingIp) -> None:
        floating.port, floating.fixed_address, floating.status = None, None, "DOWN"
        floating.updated = self._place.now

    def _arrived(self, floating: FloatingIp, port: Port) -> None:
        if floating.port is port:
            floating.status, floating.updated = "ACTIVE", self._place.now
            self._on_change(port.device_id)

    def _check_quota(self, name: str, used: int, limit: int) -> None:
        if limit != UNLIMITED and used >= limit:
            raise Refused(409, f"Quota exceeded for resources: ['{name}'].", "OverQuota")
