"""What exceptions of the libraries, and refusals of Nova, mean for the operator."""

from __future__ import annotations

import socket
import ssl

import pytest
import requests
import urllib3
from keystoneauth1 import exceptions as keystone

from nodepool.driver.adapter import ServerOrder
from nodepool.driver.errors import BadLabel, CloudError, NoCapacity, NotFound, QuotaExceeded, Rejected
from nodepool.driver.openstack.config import CloudImage, ServerSettings
from nodepool.driver.openstack.errors import Conflict, Forbidden, InvalidRequest, error_of_answer
from nodepool.driver.openstack.explanations import explain, hide, is_certificate_trouble, one_line
from nodepool.driver.openstack.refusals import explain_refusal
from nodepool.driver.openstack.suggestions import MOST_NAMES, there_are

POOL = urllib3.HTTPConnectionPool("k", 5000)
CONNECTION = urllib3.connection.HTTPConnection("k", 5000)


def wrapped(inner: Exception) -> Exception:
    """As keystoneauth raises what requests made of what urllib3 said."""
    try:
        try:
            raise requests.ConnectionError(urllib3.exceptions.MaxRetryError(POOL, "/", inner))
        except requests.ConnectionError as error:
            raise keystone.ConnectFailure("Unable to establish connection to http://k:5000/") from error
    except keystone.ConnectFailure as error:
        return error


def refused() -> Exception:
    error = urllib3.exceptions.NewConnectionError(CONNECTION, "Failed to establish a new connection")
    error.__cause__ = ConnectionRefusedError(111, "Connection refused")
    return error


def certificate(code: int, message: str) -> Exception:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return urllib3.exceptions.SSLError(error)


def tls(reason: str) -> Exception:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return urllib3.exceptions.SSLError(error)


@pytest.mark.parametrize(
    ("inner", "text"),
    [
        (refused(), "no connection: Connection refused"),
        (
            urllib3.exceptions.NameResolutionError("k", CONNECTION, socket.gaierror(-2, "Name or service not known")),
            "the name of the host is not known (DNS)",
        ),
        (urllib3.exceptions.ConnectTimeoutError(CONNECTION, "timed out"), "no connection in time"),
        (urllib3.exceptions.ReadTimeoutError(POOL, "/", "Read timed out."), "no answer in time"),
        (urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError(104)), "the connection broke"),
        (urllib3.exceptions.ProxyError("Cannot connect to proxy.", OSError()), "the proxy cannot be used"),
        (tls("WRONG_VERSION_NUMBER"), "it does not speak TLS there: http instead of https?"),
        (tls("TLSV1_ALERT_PROTOCOL_VERSION"), "TLS fails: TLSV1_ALERT_PROTOCOL_VERSION"),
    ],
)
def test_what_went_wrong_on_the_way(inner: Exception, text: str) -> None:
    assert explain(wrapped(inner)) == text
    assert not is_certificate_trouble(wrapped(inner))


@pytest.mark.parametrize(
    ("inner", "text"),
    [
        (certificate(18, "self-signed certificate"), "(self-signed certificate): name the authority's certificate as"),
        (
            certificate(10, "certificate has expired"),
            "(certificate has expired): renew the certificate, or put the clock",
        ),
        (certificate(62, "Hostname mismatch"), "(Hostname mismatch): use the name that the certificate is for"),
        (tls("NO_CERTIFICATE_OR_CRL_FOUND"), "holds no certificate or key in PEM form"),
    ],
)
def test_certificates_are_a_matter_of_the_operator(inner: Exception, text: str) -> None:
    assert text in explain(wrapped(inner))
    assert is_certificate_trouble(wrapped(inner))


def test_foreign_texts_are_made_fit() -> None:
    assert one_line("a\n  b http://me:pass@host/x c") == "a b http://host/x c"
    assert len(one_line("x" * 10_000)) == 500
    assert explain(ValueError("what\nnow")) == "what now"
    assert hide("the password pass of passport is passport.", ("pass", "passport")) == "the password *** of *** is ***."


def test_names_that_there_are() -> None:
    assert there_are("x", []) == "it has none"
    assert there_are("smal", ["small", "large"]) == "it has large, small; did you mean 'small'?"
    many = there_are("flavor-7x", [f"flavor-{number}" for number in range(100)])
    assert many.endswith(" and 88 more; did you mean 'flavor-7'?")
    assert many.count("flavor-") == MOST_NAMES + 1


SETTINGS = ServerSettings(
    image="deb",
    cloud_image=CloudImage("deb", name="debian"),
    flavor_name="small",
    volume_size=7,
    key_name="ci",
    networks=("net",),
    security_groups=("ssh",),
)
ORDER = ServerOrder("1", "np1", "main", "lab", {}, az="az1")


@pytest.mark.parametrize(
    ("error", "kind", "key"),
    [
        (InvalidRequest("Invalid key_name provided."), BadLabel, "key-name 'ci': "),
        (InvalidRequest("Unable to find security_group with name or id 'ssh'"), BadLabel, "security-groups [ssh]: "),
        (Conflict("Multiple security groups found matching 'ssh'"), BadLabel, "security-groups [ssh]: "),
        (
            InvalidRequest("The requested availability zone is not available"),
            NoCapacity,
            "availability-zones, of which 'az1' was chosen: ",
        ),
        (InvalidRequest("Flavor's memory is too small for requested image."), BadLabel, "flavor-name 'small': "),
        (InvalidRequest("Volume is smaller than the minimum size"), BadLabel, "volume-size 7: "),
        (Forbidden("Only volume-backed servers are allowed for flavors with zero disk."), BadLabel, "boot-from-volume"),
        (Conflict("Multiple possible networks found, use a Network ID"), BadLabel, "networks [net]: "),
        (InvalidRequest("Network net could not be found."), Rejected, "networks [net]: "),
        (InvalidRequest("Flavor f could not be found."), Rejected, "flavor-name 'small': "),
        (InvalidRequest("Can not find requested image"), Rejected, "cloud-image 'deb': "),
        (Forbidden("Maximum number of metadata items exceeds 128"), BadLabel, "instance-properties: "),
        (NotFound("The resource could not be found."), Rejected, ""),
    ],
)
def test_a_refusal_names_the_key(error: CloudError, kind: type[CloudError], key: str) -> None:
    explained = explain_refusal("prov", ORDER, SETTINGS, error)
    assert type(explained) is kind
    assert str(explained).startswith(f"provider 'prov', pool 'main', label 'lab': {key}")
    assert str(explained).endswith(str(error))


@pytest.mark.parametrize(
    "error", [QuotaExceeded("networks"), CloudError("image"), Forbidden("Policy does not allow it")]
)
def test_what_is_about_no_key_stays_as_it_is(error: CloudError) -> None:
    assert explain_refusal("prov", ORDER, SETTINGS, error) is error


def test_a_quoted_secret_is_cut_off() -> None:
    text = b'{"badRequest": {"message": "Invalid input for field/attribute user_data. Value: top secret. too long"}}'
    assert str(error_of_answer("POST /servers", 400, {}, text, True)) == (
        "POST /servers: HTTP 400: Invalid input for field/attribute user_data"
    )
