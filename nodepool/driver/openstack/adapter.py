"""An OpenStack cloud as the launcher sees it (spec drivers 2, launcher 3.4).

After a create nothing is asked that the shared list will tell anyway: a node's life costs one call to make its server
and one to delete it; with a floating address, three more.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from nodepool.driver.adapter import CloudAdapter, Leftover, Server, ServerOrder, ServerState
from nodepool.driver.errors import BadLabel, CloudError, NoCapacity, NotFound, UnknownOutcome
from nodepool.driver.openstack.addresses import floating_addresses
from nodepool.driver.openstack.catalogue import Catalogue, Offer, Stock, make_catalogue
from nodepool.driver.openstack.config import OpenStackProviderConfig
from nodepool.driver.openstack.connection import CloudConnection
from nodepool.driver.openstack.errors import Conflict, Forbidden, InvalidRequest
from nodepool.driver.openstack.floating import FloatingAddresses
from nodepool.driver.openstack.image_store import ImageStore
from nodepool.driver.openstack.leftovers import FLOATING, PORTS, down_ports, unused_floating_addresses
from nodepool.driver.openstack.listing import Listing, ListPlan
from nodepool.driver.openstack.networks import NetworkRules, Networks
from nodepool.driver.openstack.orders import server_body, server_metadata
from nodepool.driver.openstack.servers import GONE, ServerReader
from nodepool.driver.openstack.survey import read_limits, read_stock
from nodepool.model.resources import Resources


class OpenStackAdapter(CloudAdapter):
    """One provider's view of a cloud of clouds.yaml."""

    drop_age = 10.0
    """Seconds for which what the cloud has is believed even if it refuses an order: most such orders stay wrong."""
    look_again = 300.0
    """Seconds after which the cloud is asked anew for what a label lacks (spec drivers 2)."""
    refresh = 3600.0
    """Seconds after which it is asked anew in any case: an image may have been replaced by a newer one of its name."""

    def __init__(self, config: OpenStackProviderConfig) -> None:
        self._config = config
        self._log = logging.getLogger(f"nodepool.OpenStackAdapter.{config.name}")
        self._cloud = CloudConnection(config.cloud, config.region_name, config.rate)
        self._listing = Listing()
        self._floating = FloatingAddresses(config.name, self._cloud)
        self._catalogue: Catalogue | None = None
        self._stale = False
        self._reading = threading.Lock()
        self._volume_sizes: Mapping[str, int] = {}
        self.images = ImageStore(config.name, self._cloud)
        """For the builder."""
        self.poll_interval = max(1.0, 2 * config.rate)
        """Lists leave at least half of the calls that ``rate`` allows to everything else."""

    # What the labels need

    def prepare(self, deadline: float) -> None:
        """Connect, and find the flavors, images, networks and zones of all labels."""
        with self._cloud.within(deadline):
            self._read_catalogue(self._catalogue)

    def cost(self, pool: str, label: str) -> Resources:
        """Use of one node by its flavor; before :meth:`prepare` has ended well, one instance."""
        if pool not in self._config.pools or label not in self._config.pools[pool].labels:
            raise BadLabel(f"provider '{self._config.name}': the pool '{pool}' has no label '{label}'")
        catalogue = self._catalogue
        return Resources(instances=1) if catalogue is None else self._offer(catalogue, pool, label).cost

    def zones(self) -> Sequence[str]:
        """The zones that Nova lists as available."""
        return self._catalogue.stock.zones if self._catalogue else ()

    def limits(self, deadline: float) -> Resources:
        """Limits of the project for servers, volumes and ports."""
        labels = [label.server for pool in self._config.pools.values() for label in pool.labels.values()]
        ports = min((max(len(label.networks), 1) for label in labels), default=1)
        with self._cloud.within(deadline):
            stock = self._current_catalogue().stock
            volumes = any(label.volume_size is not None for label in labels)
            limits, self._volume_sizes = read_limits(self._cloud, volumes, ports if stock.networks else None)
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
            catalogue = self._current_catalogue()
            offer = self._offer(catalogue, order.pool, order.label)
            body = self._body(order, offer, catalogue)
            try:
                answer = self._cloud.call("compute", "POST", "/servers", body)
            except InvalidRequest:
                self._stale = True
                raise
            except UnknownOutcome:
                self._listing.distrust()
                raise
            except NotFound as error:
                raise CloudError(str(error)) from error
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
        """Start deleting a server; its floating addresses go first."""
        with self._cloud.within(deadline):
            if self._networks() is not None:
                self._floating.take_back(external_id)
            self._cloud.call("compute", "DELETE", f"/servers/{external_id}")

    def console_log(self, external_id: str, deadline: float) -> str | None:
        """The console's text."""
        with self._cloud.within(deadline):
            try:
                order: dict[str, Any] = {"os-getConsoleOutput": {}}
                answer = self._cloud.call("compute", "POST", f"/servers/{external_id}/action", order)
            except (Conflict, InvalidRequest, Forbidden):
                return None
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
        catalogue = self._catalogue
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
        """Ports that are down and floating addresses that lead nowhere."""
        found: list[Leftover] = []
        with self._cloud.within(deadline):
            if self._config.port_cleanup_interval > 0 and self._networks() is not None:
                ports = self._cloud.entries("network", "/ports", "ports", {"status": "DOWN"})
                found += down_ports(ports, self._config.port_cleanup_interval)
            if self._config.clean_floating_ips or self._gives_floating_addresses():
                addresses = self._cloud.entries("network", "/floatingips", "floatingips")
                found += unused_floating_addresses(addresses, self._config.name, self._config.clean_floating_ips)
        return found

    def remove_leftover(self, leftover: Leftover, deadline: float) -> None:
        """Delete a port or a floating address; it may be gone already."""
        with self._cloud.within(deadline):
            if leftover.kind == FLOATING:
                self._floating.delete(leftover.external_id)
            elif leftover.kind == PORTS:
                try:
                    self._cloud.call("network", "DELETE", f"/ports/{leftover.external_id}")
                except NotFound:
                    return

    def stop(self) -> None:
        """Close the connections."""
        self._cloud.stop()

    # Inside

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

    def _body(self, order: ServerOrder, offer: Offer, catalogue: Catalogue) -> dict[str, Any]:
        zones = catalogue.stock.zones
        if order.az is not None and zones and order.az not in zones:
            self._stale = True
            raise NoCapacity(f"the cloud has no zone '{order.az}' (availability-zones); it has {', '.join(zones)}")
        image_id = offer.image_id or order.image_external_id
        if image_id is None:
            raise BadLabel(f"provider '{self._config.name}', label '{order.label}': no image was named")
        metadata, dropped = server_metadata(self._config.name, order, offer.settings)
        for name, why in dropped.items():
            self._log.error("Node %s goes without the property %s: %s", order.node_id, name, why)
        automatic = self._cloud.microversion is not None
        return server_body(order, offer.settings, metadata, offer.flavor_id, image_id, offer.network_ids, automatic)

    def _offer(self, catalogue: Catalogue, pool: str, label: str) -> Offer:
        offer = catalogue.offers.get((pool, label))
        if offer is None:
            problem = catalogue.problems.get((pool, label), "there is no such label")
            raise BadLabel(f"provider '{self._config.name}', pool '{pool}', label '{label}': {problem}")
        return offer

    def _current_catalogue(self) -> Catalogue:
        """The catalogue, read anew if it may be wrong. To be called within a deadline."""
        catalogue = self._catalogue
        if catalogue is None:
            return self._read_catalogue(None)
        age = time.monotonic() - catalogue.read_at
        limit = self.drop_age if self._stale else self.look_again if catalogue.problems else self.refresh
        return self._read_catalogue(catalogue) if age >= limit else catalogue

    def _read_catalogue(self, known: Catalogue | None) -> Catalogue:
        """Read the catalogue, unless somebody else has done so meanwhile."""
        if not self._reading.acquire(timeout=self._cloud.left()):
            raise CloudError("no time left: what the cloud offers is still being read")
        try:
            if self._catalogue is not None and self._catalogue is not known:
                return self._catalogue
            self._stale = False
            stock = read_stock(self._cloud, self._config.pools.values())
            catalogue = make_catalogue(self._config.pools, stock, time.monotonic())
            self._report(catalogue.problems, known.problems if known else {})
            self._catalogue = catalogue
            return catalogue
        except CloudError:
            self._stale = True
            raise
        finally:
            self._reading.release()

    def _report(self, problems: Mapping[tuple[str, str], str], known: Mapping[tuple[str, str], str]) -> None:
        for (pool, label), problem in problems.items():
            if known.get((pool, label)) != problem:
                self._log.warning("Label %s of pool %s is out of service: %s", label, pool, problem)
        for pool, label in known.keys() - problems.keys():
            self._log.info("Label %s of pool %s is in service again", label, pool)

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
        if self._catalogue is not None:
            return self._catalogue.stock
        try:
            return self._read_catalogue(None).stock
        except CloudError as error:
            self._log.warning("What the cloud offers cannot be read: %s", error)
            self._listing.distrust()
            return Stock(rules=self._cloud.network_rules())

    def _volume_size(self, pool: str, label: str) -> int | None:
        known = self._config.pools.get(pool)
        return known.labels[label].server.volume_size if known and label in known.labels else None

    def _networks(self) -> Networks | None:
        return self._catalogue.stock.networks if self._catalogue else None

    def _gives_floating_addresses(self) -> bool:
        catalogue = self._catalogue
        if catalogue is None or catalogue.stock.networks is None or catalogue.stock.networks.nat_source is None:
            return False
        rules: NetworkRules = catalogue.stock.rules
        wanted = any(pool.auto_floating_ip for pool in self._config.pools.values())
        return wanted and rules.floating and not rules.private


def _iso(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
