"""An OpenStack cloud as the launcher sees it (spec drivers 2, launcher 3.4).

After a create nothing is asked that the shared list will tell anyway: a node's life costs one call to make its server
and one to delete it; with a floating address, three more.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from nodepool.driver.adapter import POOL_TAG, PROVIDER_TAG, CloudAdapter, Leftover, Server, ServerOrder, ServerState
from nodepool.driver.errors import BadLabel, CloudError, Misconfigured, NoCapacity, NotFound, UnknownOutcome
from nodepool.driver.image_adapter import IMAGES, uploaded_images
from nodepool.driver.openstack.addresses import floating_addresses
from nodepool.driver.openstack.catalogue import Catalogue, Offer, Stock
from nodepool.driver.openstack.config import OpenStackProviderConfig, ServerSettings
from nodepool.driver.openstack.connection import Answer, CloudConnection
from nodepool.driver.openstack.errors import Forbidden, InvalidRequest
from nodepool.driver.openstack.floating import FloatingAddresses
from nodepool.driver.openstack.image_store import ImageStore
from nodepool.driver.openstack.leftovers import (
    FLOATING,
    PORTS,
    down_ports,
    unused_floating_addresses,
)
from nodepool.driver.openstack.listing import LAG, Listing, ListPlan
from nodepool.driver.openstack.live_catalogue import LiveCatalogue
from nodepool.driver.openstack.networks import NetworkRules, Networks
from nodepool.driver.openstack.orders import server_body, server_metadata
from nodepool.driver.openstack.refusals import explain_refusal
from nodepool.driver.openstack.servers import GONE, GROUPS_TAG, ServerReader
from nodepool.driver.openstack.suggestions import there_are
from nodepool.driver.openstack.survey import read_limits
from nodepool.driver.openstack.volumes import VOLUMES, BootVolumes
from nodepool.model.resources import Resources
from nodepool.telemetry.logs import annotate


class OpenStackAdapter(CloudAdapter):
    """One provider's view of a cloud of clouds.yaml."""

    own_addresses = True
    doubt = LAG

    def __init__(self, config: OpenStackProviderConfig) -> None:
        self._config = config
        self._log = logging.getLogger(f"nodepool.OpenStackAdapter.{config.name}")
        self._cloud = CloudConnection(config.cloud, config.region_name, config.rate, self._log)
        self._listing = Listing()
        self._floating = FloatingAddresses(config.name, self._cloud)
        self._volumes = BootVolumes(config.name, self._cloud)
        self._catalogue = LiveCatalogue(config.name, config.pools, self._cloud, self._log)
        self._volume_sizes: Mapping[str, int] = {}
        self._nothing: list[str] = []
        self.images = ImageStore(config.name, self._cloud)
        """For the builder."""
        self.poll_interval = max(1.0, 2 * config.rate)
        """Lists leave at least half of the calls that ``rate`` allows to everything else."""

    # What the labels need

    def prepare(self, deadline: float) -> None:
        """Connect, and find the flavors, images, networks and zones of all labels."""
        with self._cloud.within(deadline):
            self._catalogue.renewed()

    def cost(self, pool: str, label: str) -> Resources:
        """Use of one node by its flavor; before :meth:`prepare` has ended well, one instance."""
        if pool not in self._config.pools or label not in self._config.pools[pool].labels:
            raise BadLabel(f"provider '{self._config.name}': the pool '{pool}' has no label '{label}'")
        catalogue = self._catalogue.known
        return Resources(instances=1) if catalogue is None else self._offer(catalogue, pool, label).cost

    def zones(self) -> Sequence[str]:
        """The zones that Nova lists as available."""
        return self._catalogue.known.stock.zones if self._catalogue.known else ()

    def limits(self, deadline: float) -> Resources:
        """Limits of the project for servers, volumes, ports and floating addresses."""
        ports = min((max(len(label.networks), 1) for label in self._labels()), default=1)
        with self._cloud.within(deadline):
            stock = self._catalogue.renewed().stock
            volumes = self._boots_from_volume()
            ports_each = ports if stock.networks else None
            limits, self._volume_sizes = read_limits(self._cloud, volumes, ports_each, self._without_address())
        self._tell_of_nothing([name for name in ("instances", "cores", "ram") if name in limits and not limits[name]])
        return limits

    # Servers

    def list_servers(self, deadline: float) -> Sequence[Server]:
        """All servers of the project. Most lists ask the cloud for nothing but what has changed since the last one."""
        with self._cloud.within(deadline):
            reader = self._reader()
            plan = self._listing.begin(time.monotonic())
            params = {"changes-since": _iso(plan.since)} if plan.since is not None else {}
            found, cloud_time = self._read_pages(reader, plan, params)
        return self._listing.take(plan, found, cloud_time)

    def create_server(self, order: ServerOrder, deadline: float) -> str:
        """Start making a server: one call."""
        with self._cloud.within(deadline):
            offer, body, answer = self._order(order)
        try:
            external_id: str = answer.body["server"]["id"]
        except (LookupError, TypeError) as error:
            self._listing.distrust()
            raise UnknownOutcome("POST /servers: the answer names no server") from error
        tags: Mapping[str, str] = body["server"]["metadata"]
        made = Server(external_id, ServerState.BUILDING, tags, resources=offer.cost, az=order.az)
        self._listing.made(made, time.monotonic())
        return external_id

    def delete_server(self, external_id: str, deadline: float) -> None:
        """Start deleting a server; its floating addresses go first, and its volumes are marked as ours."""
        known = self._listing.get(external_id)
        with self._cloud.within(deadline):
            if self._networks() is not None:
                self._floating.take_back(external_id)
            self._volumes.mark(external_id, look=self._boots_from_volume(known))
            self._cloud.call("compute", "DELETE", f"/servers/{external_id}")
        self._listing.deleting(external_id)

    def console_log(self, external_id: str, deadline: float) -> str | None:
        """The console's text."""
        order: dict[str, Any] = {"os-getConsoleOutput": {}}
        with self._cloud.within(deadline):
            answer = self._cloud.call("compute", "POST", f"/servers/{external_id}/action", order)
        text: str | None = answer.body.get("output")
        return text or None

    # What a server needs beside its creation, and leaves behind

    def is_finished(self, pool: str, server: Server) -> bool:
        """Whether it needs no floating address: it has a public one, or nothing that one could lead to."""
        if server.public_ipv4 or not server.interface_ip or not self._gives_floating_addresses():
            return True
        settings = self._config.pools.get(pool)
        return settings is None or not settings.auto_floating_ip

    def finish_server(self, pool: str, server: Server, deadline: float) -> Server:
        """Give it a floating address: two calls."""
        catalogue = self._catalogue.known
        if self.is_finished(pool, server) or catalogue is None or catalogue.stock.networks is None:
            return server
        with self._cloud.within(deadline):
            address = self._floating.give(server, catalogue.stock.networks)
        if address is None:
            return server
        if catalogue.stock.rules.prefer_ipv6 and server.public_ipv6:
            return dataclasses.replace(server, public_ipv4=address)
        return dataclasses.replace(server, public_ipv4=address, interface_ip=address)

    def leftovers(self, deadline: float) -> Sequence[Leftover]:
        """Ports that are down, floating addresses that lead nowhere, images of ours, boot volumes.

        A service that fails is asked again twice, as what is not found now begins anew, and does not keep the others
        from being searched. Its error is raised if nothing was found.
        """
        found: list[Leftover] = []
        todo = [self._down_ports, self._unused_addresses, self._uploaded_images, self._boot_volumes]
        with self._cloud.within(deadline):
            for _ in range(3):
                errors: list[CloudError] = []
                for search in todo[:]:
                    try:
                        found += search()
                        todo.remove(search)
                    except CloudError as error:
                        errors.append(error)
        if errors and not found:
            raise errors[0]
        for failure in errors:
            self._log.info("Not searched for leaked resources: %s", failure)
        return found

    def remove_leftover(self, leftover: Leftover, deadline: float) -> None:
        """Delete a port, a floating address, an image or a volume; it may be gone already."""
        with self._cloud.within(deadline):
            if leftover.kind == FLOATING:
                self._floating.delete(leftover.external_id)
                return
            with contextlib.suppress(NotFound):
                if leftover.kind == PORTS:
                    self._delete_port(leftover.external_id)
                elif leftover.kind == VOLUMES:
                    self._cloud.call("block_storage", "DELETE", f"/volumes/{leftover.external_id}")
                elif leftover.kind == IMAGES:
                    self.images.delete(leftover.external_id, deadline)

    def stop(self) -> None:
        """Close the connections."""
        self._cloud.stop()

    # Inside

    def _down_ports(self) -> Iterator[Leftover]:
        if self._config.port_cleanup_interval > 0 and self._networks() is not None:
            ports = self._cloud.entries("network", "/ports", "ports", {"status": "DOWN"})
            yield from down_ports(ports, self._config.port_cleanup_interval, self._is_alive)

    def _unused_addresses(self) -> Iterator[Leftover]:
        if self._config.clean_floating_ips or self._gives_floating_addresses():
            addresses = self._cloud.entries("network", "/floatingips", "floatingips")
            everybodys = self._config.clean_floating_ips
            yield from unused_floating_addresses(addresses, self._config.name, everybodys, self._is_alive)

    def _is_alive(self, server_id: str) -> bool:
        return self._listing.get(server_id) is not None

    def _uploaded_images(self) -> Iterator[Leftover]:
        if self._config.manage_images:
            yield from uploaded_images(self.images.find(self._cloud.left()))

    def _boot_volumes(self) -> Iterator[Leftover]:
        if self._volumes.any or self._boots_from_volume():
            yield from self._volumes.leftovers()

    def _delete_port(self, port_id: str) -> None:
        """Delete a port. A member may not delete one that names a server, but let it name none (Neutron's policies)."""
        try:
            self._cloud.call("network", "DELETE", f"/ports/{port_id}")
        except Forbidden:
            self._cloud.call("network", "PUT", f"/ports/{port_id}", {"port": {"device_id": "", "device_owner": ""}})
            self._cloud.call("network", "DELETE", f"/ports/{port_id}")

    def _read_pages(
        self, reader: ServerReader, plan: ListPlan, params: Mapping[str, str]
    ) -> tuple[dict[str, Server | None], float | None]:
        found: dict[str, Server | None] = {}
        floating: dict[str, tuple[str, ...]] = {}
        cloud_time: float | None = None
        for number, page in enumerate(self._cloud.pages("compute", "/servers/detail", "servers", params)):
            if number == 0 and page.cloud_time is not None:
                cloud_time = page.cloud_time - (time.monotonic() - plan.began)
            for entry in page.body:
                self._volumes.listed(entry)
                if entry.get("status") in GONE:
                    found[entry["id"]], floating[entry["id"]] = None, ()
                else:
                    found[entry["id"]], floating[entry["id"]] = self._read_server(reader, entry)
        self._floating.listed(floating, everything=plan.since is None)
        return found, cloud_time

    def _read_server(self, reader: ServerReader, entry: Mapping[str, Any]) -> tuple[Server, tuple[str, ...]]:
        """A server and its floating addresses; one that is not as the API reference says must not hide all others."""
        try:
            return reader.read(entry), floating_addresses(entry)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            self._log.warning("Server %s is listed in a strange way: %s: %s", entry["id"], type(error).__name__, error)
            return Server(entry["id"], ServerState.BUILDING, entry.get("metadata") or {}), ()

    def _without_address(self) -> int | None:
        """By how many the servers of others exceed their floating addresses; None unless all our nodes need one."""
        if not self._config.pools.keys() <= self._floating.pools:
            return None
        strangers = sum(one.tags.get(PROVIDER_TAG) != self._config.name for one in self._listing.all())
        return strangers - self._floating.count_others()

    def _tell_of_nothing(self, names: list[str]) -> None:
        """A quota of 0 is told when it is seen first."""
        for name in names:
            if name not in self._nothing:
                text = "provider '%s': the quota of the project allows no %s: no node can be made until it is raised"
                self._log.warning(text, self._config.name, name)
        self._nothing = names

    def _order(self, order: ServerOrder) -> tuple[Offer, dict[str, Any], Answer]:
        """Order a server; if the catalogue turns out to be wrong, once more by a new one."""
        catalogue = self._catalogue.current()
        offer = self._offer(catalogue, order.pool, order.label)
        body = self._body(order, offer, catalogue)
        try:
            return offer, body, self._post(body)
        except (InvalidRequest, NotFound) as error:
            catalogue = self._catalogue.refused()
            renewed = self._offer(catalogue, order.pool, order.label)
            if renewed == offer:
                raise explain_refusal(self._config.name, order, offer.settings, error) from error
        except CloudError as error:
            raise explain_refusal(self._config.name, order, offer.settings, error) from error
        body = self._body(order, renewed, catalogue)
        try:
            return renewed, body, self._post(body)
        except CloudError as error:
            raise explain_refusal(self._config.name, order, renewed.settings, error) from error

    def _post(self, body: Mapping[str, Any]) -> Answer:
        try:
            return self._cloud.call("compute", "POST", "/servers", body)
        except UnknownOutcome:
            self._listing.distrust()
            raise

    def _body(self, order: ServerOrder, offer: Offer, catalogue: Catalogue) -> dict[str, Any]:
        zones = catalogue.stock.zones
        if order.az is not None and zones and order.az not in zones:
            self._catalogue.mark_stale()
            raise NoCapacity(f"the cloud has no zone '{order.az}' (availability-zones); {there_are(order.az, zones)}")
        image_id = offer.image_id or order.image_external_id
        if image_id is None:
            raise BadLabel(f"provider '{self._config.name}', label '{order.label}': no image was named")
        metadata, dropped = server_metadata(self._config.name, order, offer.settings)
        ids = {"event_id": order.request.get("event_id"), "node_request_id": order.request.get("id")}
        for name, why in dropped.items():
            annotate(self._log, node_id=order.node_id, **ids).error(
                "Node %s goes without the property %s: %s", order.node_id, name, why
            )
        automatic = self._cloud.microversion is not None
        return server_body(order, offer.settings, metadata, offer.flavor_id, image_id, offer.network_ids, automatic)

    def _offer(self, catalogue: Catalogue, pool: str, label: str) -> Offer:
        offer = catalogue.offers.get((pool, label))
        if offer is None:
            problem = catalogue.problems.get((pool, label), "there is no such label")
            raise BadLabel(f"provider '{self._config.name}', pool '{pool}', label '{label}': {problem}")
        return offer

    def _reader(self) -> ServerReader:
        stock = self._known_stock()
        flavors = {flavor.id: flavor.resources for flavor in stock.flavors}
        return ServerReader(
            cloud=self._config.cloud,
            region=self._config.region_name,
            networks=stock.networks or Networks(),
            rules=stock.rules,
            flavor=flavors.get,
            volume_size=self._volume_size,
            volume_sizes=self._volume_sizes,
        )

    def _known_stock(self) -> Stock:
        """What is known of the cloud; if it cannot be read, servers can still be seen, with addresses as guessed."""
        if self._catalogue.known is not None:
            return self._catalogue.known.stock
        try:
            return self._catalogue.current().stock
        except Misconfigured:
            raise
        except CloudError:
            self._listing.distrust()
            return Stock(rules=self._cloud.network_rules())

    def _labels(self) -> Iterator[ServerSettings]:
        return (label.server for pool in self._config.pools.values() for label in pool.labels.values())

    def _boots_from_volume(self, server: Server | None = None) -> bool:
        """Whether a server boots from a volume, by its label; for one that is unknown, whether any label does."""
        if server is None:
            return any(label.volume_size is not None for label in self._labels())
        label = server.tags.get(GROUPS_TAG, "").rpartition(",")[2]
        return self._volume_size(server.tags.get(POOL_TAG, ""), label) is not None

    def _volume_size(self, pool: str, label: str) -> int | None:
        known = self._config.pools.get(pool)
        return known.labels[label].server.volume_size if known and label in known.labels else None

    def _networks(self) -> Networks | None:
        return self._catalogue.known.stock.networks if self._catalogue.known else None

    def _gives_floating_addresses(self) -> bool:
        catalogue = self._catalogue.known
        if catalogue is None or catalogue.stock.networks is None or catalogue.stock.networks.nat_source is None:
            return False
        rules: NetworkRules = catalogue.stock.rules
        wanted = any(pool.auto_floating_ip for pool in self._config.pools.values())
        return wanted and rules.floating and not rules.private


def _iso(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
