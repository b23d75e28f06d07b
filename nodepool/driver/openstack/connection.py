"""The connection to one cloud: openstacksdk for what it knows best (clouds.yaml, authentication, finding the services,
metrics), and plain JSON over its sessions for everything that happens often.

Raises only the errors of :mod:`nodepool.driver.errors`. May be used from any thread. clouds.yaml is read anew when it
has changed, and with each attempt to connect.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import requests
import urllib3
from keystoneauth1 import exceptions as keystone
from keystoneauth1 import session as keystone_session
from openstack import exceptions as sdk
from openstack.connection import Connection

from nodepool.driver.errors import CloudError, Misconfigured, NotFound, Unauthorized, UnknownOutcome
from nodepool.driver.openstack import services
from nodepool.driver.openstack.clouds_yaml import CloudEntry, Stamp, read_entry, stamp
from nodepool.driver.openstack.errors import InvalidRequest, error_of_answer
from nodepool.driver.openstack.explanations import address_of, explain, is_certificate_trouble
from nodepool.driver.openstack.keystone import error_of_keystone
from nodepool.driver.openstack.networks import NetworkRules
from nodepool.driver.openstack.pace import Pace
from nodepool.driver.openstack.transport import Deadlines, TooLate, new_session

MICROVERSIONS = ("2.69", "2.47")
"""Of Nova, best first: 2.69 lists servers of cells that do not answer, 2.47 says the size of a server."""
CHUNK = 1 << 16
LOOK_AT_FILES_EVERY = 5.0
"""Seconds between two looks whether clouds.yaml has changed."""
CHANGE_DEADLINE = 10.0
"""Seconds for connecting anew after such a change."""
ENDPOINT_SECONDS = 60.0
"""Seconds for which a service is believed to answer where it did: a catalogue comes anew with each token."""
_CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_BROKEN = (
    keystone.ClientException,
    sdk.SDKException,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    OSError,
    ValueError,
)
"""What the libraries raise, ValueError for answers that are no JSON."""
_OF_KEYSTONE = (keystone.HttpError, keystone.AuthorizationFailure, keystone.DiscoveryFailure)
"""What Keystone alone is the reason for: errors of services are answers that we read ourselves."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the cloud that is no error."""

    body: Any
    """What the JSON says; None if there is nothing."""
    cloud_time: float | None
    """Epoch seconds of the cloud's clock when it answered, None if it did not say."""


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """Where a service answers, for as long as it is believed (monotonic seconds)."""

    proxy: Any
    url: str
    until: float


class CloudConnection:
    """A cloud of clouds.yaml. It is connected when first used, and again after its credentials were refused.

    :param cloud: name in clouds.yaml
    :param rate: least time in seconds between two exchanges, 0 for no limit
    """

    def __init__(
        self, cloud: str, region: str | None = None, rate: float = 0.0, log: logging.Logger | None = None
    ) -> None:
        self._cloud = cloud
        self._log = log or logging.getLogger("nodepool.OpenStackAdapter")
        self._region = region
        self._pace = Pace(rate)
        self._deadlines = Deadlines()
        self._http = new_session(self._deadlines, self._pace)
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._entry: CloudEntry | None = None
        self._stamp: Stamp = ()
        self._format: tuple[Stamp, str] | None = None
        self._look_at_files = 0.0
        self._microversion: str | None = None
        self._endpoints: dict[str, _Endpoint] = {}
        self.generation = 0
        """Counts the connections: with a new one, all that is known of the cloud may have become wrong."""

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """All calls of this thread inside of it end within ``seconds``; the last may take as long again at worst."""
        with self._deadlines.within(seconds):
            yield

    def watched(self, total: int, progress: Callable[[int, int], None] | None) -> AbstractContextManager[None]:
        """Inside of it, ``progress`` is told how many bytes of ``total`` have been sent of a file."""
        return self._deadlines.watched(total, progress)

    def left(self) -> float:
        """Seconds that are left of it."""
        return self._deadlines.left()

    def call(
        self, service: str, method: str, path: str, body: Any = None, params: Mapping[str, Any] | None = None
    ) -> Answer:
        """Call a service of the cloud; to be used :meth:`within` a deadline.

        :param service: ``compute``, ``network``, ``image`` or ``block_storage``
        """
        self._deadlines.call(method, path)
        what = f"{method} {path}"
        try:
            return self._exchange(service, method, path, body, params)
        except CloudError as error:
            if isinstance(error, Unauthorized):
                self.forget()
            if isinstance(error, TooLate):
                unknown = method in _CHANGES and self._deadlines.sent
                raise (UnknownOutcome if unknown else CloudError)(f"{what}: no answer in time") from error
            raise
        except _BROKEN as error:
            raise self._error(what, error, method in _CHANGES) from error

    def pages(self, service: str, path: str, key: str, params: Mapping[str, Any] | None = None) -> Iterator[Answer]:
        """The pages of a list; the body of each is the list under ``key``, and the ids of entries lead to the next.

        If the last entry of a page has gone meanwhile, and the cloud does not know any more where it stood, the one
        before it leads on.
        """
        markers: list[str] = []
        while True:
            query = dict(params or {}) | ({"marker": markers[-1]} if markers else {})
            try:
                answer = self.call(service, "GET", path, params=query)
            except (InvalidRequest, NotFound) as error:
                if len(markers) < 2 or markers.pop() not in str(error):
                    raise
                continue
            entries = answer.body[key]
            yield Answer(entries, answer.cloud_time)
            if not entries or not _has_more(answer.body, key):
                return
            markers = [entry["id"] for entry in entries]

    def entries(self, service: str, path: str, key: str, params: Mapping[str, Any] | None = None) -> list[Any]:
        """All entries of a list."""
        return [entry for answer in self.pages(service, path, key, params) for entry in answer.body]

    def missing(self, service: str) -> str | None:
        """Why the cloud has no such service, None if it has it."""
        with self._translated("looking for services"):
            return services.missing(self._connected().config, service.replace("_", "-"))

    @property
    def microversion(self) -> str | None:
        """The version of Nova's API that we speak; None for the plain one, or if not connected yet."""
        return self._microversion

    def project_id(self) -> str:
        """The project of our credentials."""
        with self._translated("authenticating"):
            return str(self._connected().session.get_project_id())

    def network_rules(self) -> NetworkRules:
        """What clouds.yaml says of networks."""
        with self._translated("reading clouds.yaml"):
            config = self._connected().config
            plain = config.config
            return NetworkRules(
                external_ipv4=frozenset(config.get_external_ipv4_networks()),
                internal_ipv4=frozenset(config.get_internal_ipv4_networks()),
                default=config.get_default_network(),
                nat_source=config.get_nat_source(),
                nat_destination=config.get_nat_destination(),
                use_external=plain.get("use_external_network", True),
                use_internal=plain.get("use_internal_network", True),
                private=plain.get("private", False),
                prefer_ipv6=not config.force_ipv4 and _host_has_ipv6(),
                force_ipv4=config.force_ipv4,
                floating=str(plain.get("floating_ip_source") or "none").lower() == "neutron",
            )

    def image_format(self) -> str:
        """The format of images that the cloud takes: ``image_format`` in clouds.yaml. Connects to nothing.

        Reads the files only if they have changed: it is asked for each image.
        """
        now = stamp()
        if self._format is None or self._format[0] != now:
            self._format = now, str(self._read_entry().config.config["image_format"])
        return self._format[1]

    @contextmanager
    def sdk(self, what: str) -> Iterator[Connection]:
        """The SDK's own connection, for what is done seldom; its errors come out as ours."""
        with self._translated(what):
            yield self._connected()

    def stop(self) -> None:
        """Close all connections; to be called once, when no call is under way."""
        self._pace.stop()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        self._http.close()

    # Inside

    def _exchange(self, service: str, method: str, path: str, body: Any, params: Mapping[str, Any] | None) -> Answer:
        proxy = getattr(self._connected(), service)
        response = proxy.request(
            self._endpoint(service, proxy) + path,
            method,
            skip_cache=True,
            json=body,
            params=params,
            headers={"Accept": "application/json"},
            microversion=self._microversion if service == "compute" else None,
            stream=True,
            connect_retries=0,
            status_code_retries=0,
            log=method not in _CHANGES,
            raise_exc=False,
        )
        content = b"".join(self._chunks(response))
        if response.status_code >= 400:
            call = f"{method} {path}"
            raise error_of_answer(call, response.status_code, response.headers, content, method in _CHANGES)
        return Answer(json.loads(content) if content else None, _date(response.headers.get("Date")))

    def _endpoint(self, service: str, proxy: Any) -> str:
        """Where a service answers, "" to have the library find it. It would copy the whole catalogue for each call."""
        known = self._endpoints.get(service)
        if known is None or known.proxy is not proxy or time.monotonic() >= known.until:
            url = str(proxy.get_endpoint() or "").rstrip("/")
            known = self._endpoints[service] = _Endpoint(proxy, url, time.monotonic() + ENDPOINT_SECONDS)
        return known.url

    def _chunks(self, response: requests.Response) -> Iterator[bytes]:
        for chunk in response.iter_content(CHUNK):
            yield chunk
            self._deadlines.left()

    def _connected(self) -> Connection:
        connection = self._connection
        if connection is not None:
            if time.monotonic() >= self._look_at_files and self._lock.acquire(blocking=False):
                try:
                    self._look_for_changes()
                finally:
                    self._lock.release()
            return self._connection or connection
        if not self._lock.acquire(timeout=self._deadlines.left()):
            raise TooLate("no time left: somebody else is still connecting")
        try:
            if self._connection is None:
                self._stamp = stamp()
                self._connect(self._read_entry())
            assert self._connection is not None, "it was made, or there was one"
            return self._connection
        finally:
            self._lock.release()

    def _read_entry(self) -> CloudEntry:
        def session(**settings: Any) -> keystone_session.Session:
            return keystone_session.Session(session=self._http, **settings)

        return read_entry(self._cloud, self._region, session)

    def _connect(self, entry: CloudEntry) -> None:
        """Make a connection and use it from now on."""
        try:
            connection = Connection(config=entry.config)
            connection.session.get_token()
            problem = services.missing(entry.config, "compute")
        except TooLate as error:
            raise CloudError(f"cloud '{self._cloud}': Keystone at {entry.auth_url}: no answer in time") from error
        except CloudError:
            raise
        except Exception as error:  # what clouds.yaml says goes to code that raises whatever comes
            raise error_of_keystone(error, entry) from error
        if problem is not None:
            raise Misconfigured(f"cloud '{self._cloud}' of {entry.source}: {problem}")
        microversion = self._ask_microversion(connection)
        for trouble in entry.troubles:
            self._log.warning("cloud '%s' is taken from %s: %s", self._cloud, entry.source, trouble)
        self._connection, self._entry, self._microversion = connection, entry, microversion
        self._look_at_files = time.monotonic() + LOOK_AT_FILES_EVERY
        self.generation += 1

    def _ask_microversion(self, connection: Connection) -> str | None:
        """The version of Nova's API to speak. openstacksdk takes a Nova that does not answer for one that is old."""
        try:
            microversion = _best_microversion(connection)
            if microversion is not None:
                return microversion
            url = str(connection.compute.get_endpoint())
            answer = connection.session.get(url, raise_exc=False, connect_retries=0, status_code_retries=0)
        except _BROKEN as error:
            raise self._error("versions of compute", error, changes=False) from error
        if answer.status_code >= 400:
            raise error_of_answer(f"GET {url}", answer.status_code, answer.headers, answer.content, False)
        return None

    def _look_for_changes(self) -> None:
        """Use what the files say now, if it can be used; else what they said before stays in force."""
        self._look_at_files = time.monotonic() + LOOK_AT_FILES_EVERY
        present = stamp()
        if present == self._stamp:
            return
        self._stamp = present
        try:
            with self._deadlines.within(CHANGE_DEADLINE):
                entry = self._read_entry()
                if self._entry is not None and entry.is_like(self._entry):
                    return
                self._connect(entry)
        except CloudError as error:
            self._log.warning("clouds.yaml has changed, but the connection to cloud '%s' stays: %s", self._cloud, error)
        else:
            self._log.info("clouds.yaml has changed: cloud '%s' is now used as %s says", self._cloud, entry.source)

    def forget(self) -> None:
        """Connect anew with the next call: the credentials, or the services that there are, may have changed."""
        self._connection = None

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        self._deadlines.call("", "")
        try:
            yield
        except _BROKEN as error:
            raise self._error(what, error, changes=False) from error

    def _error(self, what: str, error: Exception, changes: bool) -> CloudError:
        """The error for what a library raised."""
        answer = error.response if isinstance(error, sdk.HttpException) else None
        if answer is not None:
            return error_of_answer(what, answer.status_code, answer.headers, answer.content, changes)
        if self._entry is not None and isinstance(error, _OF_KEYSTONE):
            translated = error_of_keystone(error, self._entry)
            if isinstance(translated, Unauthorized):
                self.forget()
            return translated
        address = address_of(error)
        message = f"cloud '{self._cloud}': {what}: {address + ': ' if address else ''}{explain(error)}"
        if is_certificate_trouble(error):
            return Misconfigured(message)
        return (UnknownOutcome if changes and self._deadlines.sent else CloudError)(message)


def _best_microversion(connection: Connection) -> str | None:
    data = connection.compute.get_endpoint_data()
    highest = data.max_microversion if data else None
    wanted = (one for one in MICROVERSIONS if highest and tuple(map(int, one.split("."))) <= tuple(highest))
    return next(wanted, None)


def _has_more(body: Mapping[str, Any], key: str) -> bool:
    """Whether a page says that another one follows: Nova, Neutron and Cinder by links, Glance by ``next``."""
    return bool(body.get("next")) or any(link.get("rel") == "next" for link in body.get(f"{key}_links", ()))


def _date(text: str | None) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except ValueError:
        return None


def _host_has_ipv6() -> bool:
    """Whether this host has an IPv6 address that is good beyond its own link (proc(5), if_inet6)."""
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as table:
            return any(line.split()[3] == "00" for line in table)
    except OSError:
        return False
