"""The plain first bytes of an SSH connection (RFC 4253, sections 4.2, 6 and 7.1). Pure functions on bytes."""

import struct
from collections.abc import Iterable

CLIENT_VERSION = "nodepool"
IDENTIFICATION = f"SSH-2.0-{CLIENT_VERSION}\r\n".encode("ascii")

MAXIMUM_LINE = 8192
"""Longest line, in bytes, taken before the identification; OpenSSH's limit for its own clients."""
MAXIMUM_LINES = 1024
"""Most lines taken before the identification; OpenSSH's limit for its own clients."""
MAXIMUM_PACKET = 256 * 1024
"""Longest packet in bytes; OpenSSH's limit. RFC 4253 6.1 asks for at least 35000."""

MESSAGE_DISCONNECT = 1
MESSAGE_IGNORE = 2
MESSAGE_DEBUG = 4
MESSAGE_KEXINIT = 20

_COOKIE_BYTES = 16
_PRINTABLE_CHARACTERS = 120

_KEY_TYPE_OF_ALGORITHM = {
    "ssh-ed25519": "ssh-ed25519",
    "ecdsa-sha2-nistp256": "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384": "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521": "ecdsa-sha2-nistp521",
    "rsa-sha2-512": "ssh-rsa",
    "rsa-sha2-256": "ssh-rsa",
    "ssh-rsa": "ssh-rsa",
    "ssh-dss": "ssh-dss",
}
"""Signature algorithms and the key they sign with, in the order in which keys are recorded. Certificate algorithms are
left out on purpose: a certificate is no host key, and the key in it is offered under its plain name too."""


class MalformedPacket(ValueError):
    """Bytes that are no SSH packet or no SSH_MSG_KEXINIT."""


def is_identification(line: bytes) -> bool:
    """Whether ``line`` is a server's identification, of any version (RFC 4253 4.2; other lines may come before)."""
    return line.startswith(b"SSH-")


def speaks_version_2(line: bytes) -> bool:
    """Whether an identification stands for SSH 2 (``1.99`` is a server for both versions, RFC 4253 5.1)."""
    return line.startswith((b"SSH-2.0-", b"SSH-1.99-"))


def packet_length(header: bytes) -> int:
    """The number of bytes that follow the four bytes ``header`` of an unencrypted packet.

    Raises MalformedPacket when it is out of bounds (RFC 4253 6).
    """
    (length,) = struct.unpack(">I", header)
    if not 5 <= length <= MAXIMUM_PACKET:
        raise MalformedPacket(f"a packet of {length} bytes")
    return int(length)


def payload_of(packet: bytes) -> bytes:
    """The payload of an unencrypted packet without its length field, padding removed; never empty.

    Raises MalformedPacket when the padding leaves no payload.
    """
    payload = packet[1 : len(packet) - packet[0]]
    if not payload:
        raise MalformedPacket("a packet without payload")
    return payload


def host_key_algorithms(payload: bytes) -> tuple[str, ...]:
    """``server_host_key_algorithms`` of an SSH_MSG_KEXINIT payload, in the server's order (RFC 4253 7.1).

    Raises MalformedPacket when the payload is something else or ends early.
    """
    if payload[:1] != bytes([MESSAGE_KEXINIT]):
        raise MalformedPacket("no SSH_MSG_KEXINIT")
    _, position = _name_list(payload, 1 + _COOKIE_BYTES)
    names, _ = _name_list(payload, position)
    return names


def _name_list(payload: bytes, position: int) -> tuple[tuple[str, ...], int]:
    start = position + 4
    if len(payload) < start:
        raise MalformedPacket("SSH_MSG_KEXINIT ends early")
    (length,) = struct.unpack(">I", payload[position:start])
    end = start + length
    if len(payload) < end:
        raise MalformedPacket("SSH_MSG_KEXINIT ends early")
    text = payload[start:end].decode("ascii", errors="replace")
    return tuple(text.split(",")) if text else (), end


def algorithms_by_key_type(offered: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Key types the server has, in recording order, each with the offered algorithms that prove such a key.

    Unknown and certificate algorithms are left out.
    """
    available = frozenset(offered)
    by_type: dict[str, tuple[str, ...]] = {}
    for algorithm, key_type in _KEY_TYPE_OF_ALGORITHM.items():
        if algorithm in available:
            by_type[key_type] = (*by_type.get(key_type, ()), algorithm)
    return by_type


def printable(text: str) -> str:
    """Text from the network, quoted, made safe and short for a log."""
    return ascii(text.strip()[:_PRINTABLE_CHARACTERS])
