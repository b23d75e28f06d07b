"""What an exception of the libraries below us means, in one line for the operator, and what to do about it.

keystoneauth, requests and urllib3 wrap each other's errors; what matters is at the bottom. Asks no cloud.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

import requests
import urllib3

LONGEST_TEXT = 500
"""Most characters of a text that is not ours."""
_USER = re.compile(r"(?<=://)[^/@\s]+@")
_SPACE = re.compile(r"\s+")
_EXPIRED, _OTHER_NAMES = frozenset({9, 10}), frozenset({62, 64})
"""Codes of X509_verify_cert(3): not valid yet, expired; another host name, another address."""
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"})
_NO_CERTIFICATE = frozenset({"NO_CERTIFICATE_OR_CRL_FOUND", "NO_START_LINE", "BAD_BASE64_DECODE", "PEM_LIB"})


def explain(error: BaseException) -> str:
    """What went wrong between us and a server."""
    found = tuple(_all_of(error))
    for look in (_certificate, _tls, _connection, _silence):
        text = next((text for one in found if (text := look(one))), None)
        if text is not None:
            return text
    return one_line(str(error) or type(error).__name__)


def is_certificate_trouble(error: BaseException) -> bool:
    """Whether one side does not accept the other's certificate: it will not pass by itself."""
    return any(_certificate(one) for one in _all_of(error))


def address_of(error: BaseException) -> str | None:
    """Scheme, host and port that an exchange was meant for, None if the error does not say."""
    for one in _all_of(error):
        url = getattr(getattr(one, "request", None), "url", None)
        if url:
            parts = urlsplit(str(url))
            return shown_url(f"{parts.scheme}://{parts.netloc}")
    return None


def one_line(text: str) -> str:
    """A foreign text made fit for a message: no line breaks, not too long, no passwords in addresses."""
    line = shown_url(_SPACE.sub(" ", text).strip())
    return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1] + "…"


def shown_url(text: str) -> str:
    """A text without user and password in the addresses in it."""
    return _USER.sub("", text)


def hide(text: str, secrets: Iterable[str]) -> str:
    """A text without the secrets that may be quoted in it; a short one may be part of any word."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
    return text


def _all_of(error: BaseException) -> Iterator[BaseException]:
    """An error and all that it was made from, the outermost first."""
    seen: list[BaseException] = []
    line = [error]
    while line:
        one = line.pop(0)
        if any(one is other for other in seen):
            continue
        seen.append(one)
        yield one
        inner = [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
        line.extend(other for other in inner if isinstance(other, BaseException))


def _certificate(error: BaseException) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        what = f"its certificate is not accepted ({error.verify_message.rstrip('.')})"
        if error.verify_code in _EXPIRED:
            return f"{what}: renew the certificate, or put the clock of this host right"
        if error.verify_code in _OTHER_NAMES:
            return f"{what}: use the name that the certificate is for"
        return f"{what}: name the authority's certificate as 'cacert' in clouds.yaml"
    if isinstance(error, ssl.SSLError) and error.reason in _NO_CERTIFICATE:
        return "the file named as 'cacert', 'cert' or 'key' in clouds.yaml holds no certificate or key in PEM form"
    if isinstance(error, OSError) and "invalid path" in str(error):
        return f"{one_line(str(error))} ('cacert' or 'cert' in clouds.yaml)"
    return None


def _tls(error: BaseException) -> str | None:
    if isinstance(error, ssl.SSLError):
        if error.reason in _NO_TLS:
            return "it does not speak TLS there: http instead of https?"
        if not isinstance(error, ssl.SSLZeroReturnError | ssl.SSLEOFError):
            return f"TLS fails: {error.reason or one_line(str(error))}"
    return None


def _connection(error: BaseException) -> str | None:
    if isinstance(error, urllib3.exceptions.ProxyError):
        return "the proxy cannot be used"
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return "the name of the host is not known (DNS)"
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        inner = error.__cause__ or error.__context__
        text = inner.strerror if isinstance(inner, OSError) else None
        return f"no connection: {text or 'the host cannot be reached'}"
    if isinstance(error, urllib3.exceptions.ConnectTimeoutError):
        return "no connection in time"
    return None


def _silence(error: BaseException) -> str | None:
    if isinstance(error, requests.exceptions.ReadTimeout | urllib3.exceptions.ReadTimeoutError):
        return "no answer in time"
    if isinstance(error, urllib3.exceptions.ProtocolError | ConnectionError):
        return "the connection broke"
    if isinstance(error, requests.exceptions.JSONDecodeError):
        return "the answer is not JSON: something else than OpenStack answers there"
    return None
