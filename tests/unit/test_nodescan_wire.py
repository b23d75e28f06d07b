"""The plain start of an SSH connection, as bytes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodepool.driver.nodescan import ScanRequest, wire


def name_list(*names: str) -> bytes:
    text = ",".join(names).encode("ascii")
    return struct.pack(">I", len(text)) + text


def kexinit(*host_key_algorithms: str) -> bytes:
    return b"\x14" + bytes(16) + name_list("curve25519-sha256") + name_list(*host_key_algorithms) + name_list("none")


def packet(payload: bytes, padding: int = 4) -> bytes:
    return bytes([padding]) + payload + bytes(padding)


def test_host_key_algorithms_come_in_the_servers_order() -> None:
    assert wire.host_key_algorithms(kexinit("rsa-sha2-512", "ssh-ed25519")) == ("rsa-sha2-512", "ssh-ed25519")


def test_an_empty_list_of_algorithms_is_empty() -> None:
    assert wire.host_key_algorithms(kexinit()) == ()


def test_a_kexinit_cut_anywhere_before_the_end_of_the_list_is_malformed() -> None:
    whole = kexinit("ssh-ed25519")
    needed = len(whole) - len(name_list("none"))
    for length in range(needed):
        with pytest.raises(wire.MalformedPacket):
            wire.host_key_algorithms(whole[:length])
    assert wire.host_key_algorithms(whole[:needed]) == ("ssh-ed25519",)


def test_another_message_is_no_offer() -> None:
    with pytest.raises(wire.MalformedPacket, match="no SSH_MSG_KEXINIT"):
        wire.host_key_algorithms(b"\x15" + kexinit("ssh-ed25519")[1:])


@given(st.binary(max_size=300))
def test_any_bytes_are_an_offer_or_malformed(data: bytes) -> None:
    try:
        names = wire.host_key_algorithms(b"\x14" + data)
    except wire.MalformedPacket:
        return
    assert all(isinstance(name, str) for name in names)


@given(st.binary(min_size=1, max_size=300))
def test_any_packet_has_a_payload_or_is_malformed(data: bytes) -> None:
    try:
        assert wire.payload_of(data)
    except wire.MalformedPacket:
        assert data[0] + 1 >= len(data)


@given(st.binary(min_size=1, max_size=100), st.integers(min_value=1, max_value=255))
def test_padding_is_removed(payload: bytes, padding: int) -> None:
    assert wire.payload_of(packet(payload, padding)) == payload


@pytest.mark.parametrize("length", [0, 4, wire.MAXIMUM_PACKET + 1, 0xFFFFFFFF])
def test_an_absurd_packet_length_is_malformed(length: int) -> None:
    with pytest.raises(wire.MalformedPacket):
        wire.packet_length(struct.pack(">I", length))


def test_the_longest_packet_is_taken() -> None:
    assert wire.packet_length(struct.pack(">I", wire.MAXIMUM_PACKET)) == wire.MAXIMUM_PACKET


@pytest.mark.parametrize(
    ("line", "identification", "version_2"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", True, True),
        (b"SSH-1.99-Cisco-1.25\n", True, True),
        (b"SSH-1.5-old\r\n", True, False),
        (b"Welcome\r\n", False, False),
        (b"HTTP/1.1 400 Bad Request\r\n", False, False),
        (b"", False, False),
    ],
)
def test_identification_lines(line: bytes, identification: bool, version_2: bool) -> None:
    assert wire.is_identification(line) is identification
    assert wire.speaks_version_2(line) is version_2


def test_key_types_come_in_recording_order_whatever_the_servers_order() -> None:
    offered = ("ssh-dss", "rsa-sha2-256", "ecdsa-sha2-nistp521", "rsa-sha2-512", "ecdsa-sha2-nistp256", "ssh-ed25519")
    assert wire.algorithms_by_key_type(offered) == {
        "ssh-ed25519": ("ssh-ed25519",),
        "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
        "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
        "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
        "ssh-dss": ("ssh-dss",),
    }
    assert list(wire.algorithms_by_key_type(offered)) == list(wire.algorithms_by_key_type(reversed(offered)))


def test_rsa_is_one_key_type_and_sha1_alone_is_enough() -> None:
    assert wire.algorithms_by_key_type(["ssh-rsa"]) == {"ssh-rsa": ("ssh-rsa",)}


def test_certificates_and_unknown_algorithms_are_left_out() -> None:
    offered = ["ssh-ed25519-cert-v01@openssh.com", "rsa-sha2-512-cert-v01@openssh.com", "x509v3-ssh-rsa", "ssh-new"]
    assert wire.algorithms_by_key_type(offered) == {}


def test_text_from_the_network_is_made_safe() -> None:
    text = wire.printable("ok\x1b[2J\u2028" + "x" * 1000)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 200


@pytest.mark.parametrize(
    ("connection_type", "keys", "wanted"),
    [
        ("ssh", True, True),
        ("network_cli", True, True),
        ("winrm", True, False),
        ("ssh", False, False),
    ],
)
def test_keys_are_wanted_of_ssh_and_network_cli_only(connection_type: str, keys: bool, wanted: bool) -> None:
    assert ScanRequest("key", "192.0.2.1", 22, connection_type, 1.0, keys=keys).wants_keys is wanted


def test_a_request_without_host_is_refused() -> None:
    with pytest.raises(ValueError, match="'0000000042' has no host"):
        ScanRequest("0000000042", "", 22, "ssh", 1.0)


@pytest.mark.parametrize("port", [-1, 0, 65536, 100_000])
def test_a_request_without_a_proper_port_is_refused(port: int) -> None:
    with pytest.raises(ValueError, match=f"'0000000042' has port {port}"):
        ScanRequest("0000000042", "192.0.2.1", port, "ssh", 1.0)
