"""The connection to one cloud: openstacksdk for what it knows best (clouds.yaml, authentication, finding the services,
metrics), and plain JSON over its sessions for everything that happens often.

Raises only the errors of :mod:`nodepool.driver.errors`. May be used from any thread.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any, cast

import requests
import urllib3
from keystoneauth1 import exceptions as keystone
from keystoneauth1 import session as keystone_session
from openstack import exceptions as sdk
from openstack.config import OpenStackConfig
from openstack.connection import Connection

from nodepool.driver.errors import CloudError, Unauthorized, UnknownOutcome
from nodepool.driver.openstack.errors import error_of_answer
from nodepool.driver.openstack.networks import NetworkRules
from nodepool.driver.openstack.pace import Pace
from nodepool.driver.openstack.transport import Deadlines, TooLate, new_session

MICROVERSIONS = ("2.69", "2.47")
"""Of Nova, best first: 2.69 lists servers of cells that do not answer, 2.47 says the size of a server."""
CHUNK = 1 << 16
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


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the cloud that is no error."""

    body: Any
    """What the JSON says; None if there is nothing."""
    cloud_time: float | None
    """Epoch seconds of the cloud's clock when it answered, None if it did not say."""


class CloudConnection:
    """A cloud of clouds.yaml. It is connected when first used, and again after its credentials were refused.

    :param cloud: name in clouds.yaml
    :param rate: least time in seconds between two exchanges, 0 for no limit
    """

    def __init__(self, cloud: str, region: str | None = None, rate: float = 0.0) -> None:
        self._cloud = cloud
        self._region = region
        self._pace = Pace(rate)
        self._deadlines = Deadlines()
        self._http = new_session(self._deadlines, self._pace)
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._microversion: str | None = None

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """All calls of this thread inside of it end within ``seconds``; the last may take as long again at worst."""
        with self._deadlines.within(seconds):
            yield

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
                self._forget()
            if isinstance(error, TooLate):
                unknown = method in _CHANGES and self._deadlines.sent
                raise (UnknownOutcome if unknown else CloudError)(f"{what}: no answer in time") from error
            raise
        except _BROKEN as error:
            raise self._error(what, error, method in _CHANGES) from error

    def pages(self, service: str, path: str, key: str, params: Mapping[str, Any] | None = None) -> Iterator[Answer]:
        """The pages of a list; the body of each is the list under ``key``, and the ids of entries lead to the next."""
        marker: str | None = None
        while True:
            query = dict(params or {}) | ({"marker": marker} if marker else {})
            answer = self.call(service, "GET", path, params=query)
            entries = answer.body[key]
            yield Answer(entries, answer.cloud_time)
            if not entries or not _has_more(answer.body, key):
                return
            marker = entries[-1]["id"]

    def entries(self, service: str, path: str, key: str, params: Mapping[str, Any] | None = None) -> list[Any]:
        """All entries of a list."""
        return [entry for answer in self.pages(service, path, key, params) for entry in answer.body]

    def has(self, service: str) -> bool:
        """Whether the cloud has a service."""
        with self._translated("looking for services"):
            return self._connected().has_service(service.replace("_", "-"))

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
        """The format of images that the cloud takes: ``image_format`` in clouds.yaml. Connects to nothing."""
        with self._translated("reading clouds.yaml"):
            return str(self._region_config().config["image_format"])

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
            path,
            method,
            json=body,
            params=params,
            headers={"Accept": "application/json"},
            microversion=self._microversion if service == "compute" else None,
            stream=True,
            connect_retries=0,
            status_code_retries=0,
            raise_exc=False,
        )
        content = b"".join(self._chunks(response))
        if response.status_code >= 400:
            call = f"{method} {path}"
            raise error_of_answer(call, response.status_code, response.headers, content, method in _CHANGES)
        return Answer(json.loads(content) if content else None, _date(response.headers.get("Date")))

    def _chunks(self, response: requests.Response) -> Iterator[bytes]:
        for chunk in response.iter_content(CHUNK):
            yield chunk
            self._deadlines.left()

    def _connected(self) -> Connection:
        connection = self._connection
        if connection is not None:
            return connection
        if not self._lock.acquire(timeout=self._deadlines.left()):
            raise TooLate("no time left: somebody else is still connecting")
        try:
            if self._connection is None:
                connection = Connection(config=self._region_config())
                connection.session.get_token()
                self._microversion = _best_microversion(connection)
                self._connection = connection
            return self._connection
        finally:
            self._lock.release()

    def _region_config(self) -> Any:
        def session(**settings: Any) -> keystone_session.Session:
            return keystone_session.Session(session=self._http, **settings)

        config = OpenStackConfig(
            session_constructor=cast(Any, session), app_name="nodepool", app_version=version("nodepool")
        )
        region: dict[str, Any] = {"region_name": self._region} if self._region else {}
        return config.get_one(cloud=self._cloud, **region)

    def _forget(self) -> None:
        """Connect anew with the next call: who gave us new credentials has changed clouds.yaml."""
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
        message = f"cloud '{self._cloud}': {what}: {_text(error)}"
        if isinstance(error, keystone.Unauthorized | keystone.AuthorizationFailure):
            self._forget()
            return Unauthorized(message)
        if changes and self._deadlines.sent:
            return UnknownOutcome(message)
        return CloudError(message)


def _text(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"{text} (name the authority's certificate as 'cacert' in clouds.yaml)"
    return text


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
