"""What is asked of a scan, what it answers, and why it can fail. Values only: no I/O, no clock."""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum

KEY_CONNECTION_TYPES = frozenset({"ssh", "network_cli"})
"""Connection types whose host keys are read; for any other a TCP connection suffices (spec launcher 3.3)."""


class ScanFailure(Enum):
    """Why a scan failed; the value is the sentence shown to operators."""

    NAME_NOT_RESOLVED = "The host name has no address, or the name service did not answer."
    REFUSED = "The host refuses connections to the port."
    UNREACHABLE = "No TCP connection to the host: no answer, or no route."
    NO_BANNER = "The port accepts connections, but no SSH banner came."
    WRONG_BANNER = "The port is served by something that does not speak SSH 2."
    BROKEN_OFF = "The server ended or garbled the SSH handshake."
    NO_HOST_KEY = "The SSH server proved no host key of a type that clients use."
    DEADLINE = "The time ran out during the SSH handshake."
    CANCELLED = "The scan was cancelled, or replaced by a newer one with the same key."
    INTERNAL = "The scanner itself failed; its log has the details."


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """One host to scan.

    ``key`` names the scan to `Scanner.cancel` and in the result. ``timeout`` (seconds, the provider's boot-timeout)
    counts from when work on the host begins; waiting in the scanner's queue is excluded. ``attempt_timeout`` (seconds)
    limits each step of an attempt: one connect, the banner, one key exchange. With ``retry`` a failed attempt is
    repeated quietly until the time is up. ``keys=False`` asks for a TCP connection only, whatever the type.
    Scans of one ``group`` (the provider's name) share a limit, so that one sick cloud delays only its own hosts.

    Raises ValueError for an empty host, which the resolver would take for this machine, and for a port outside of
    1-65535, of which it would drop the upper bits.
    """

    key: Hashable
    host: str
    port: int
    connection_type: str
    timeout: float
    attempt_timeout: float = 10.0
    retry: bool = True
    keys: bool = True
    group: str = ""

    def __post_init__(self) -> None:
        if not self.host:
            raise ValueError(f"Scan {self.key!r} has no host: give a host name or an address")
        if not 0 < self.port < 65536:
            raise ValueError(f"Scan {self.key!r} has port {self.port}: give a TCP port from 1 to 65535")

    @property
    def wants_keys(self) -> bool:
        """Whether host keys are to be read, not just a TCP connection made."""
        return self.keys and self.connection_type in KEY_CONNECTION_TYPES


@dataclass(frozen=True, slots=True)
class ScanResult:
    """The outcome: ``failure`` is None on success.

    ``host_keys`` are ``"<type> <base64>"`` as in a node record (spec zookeeper 4.1), ordered ed25519, ecdsa, rsa,
    others; never empty when keys were asked for and the scan succeeded. ``detail`` says what was tried and what came
    back, for logs; it is empty on success. ``address`` is the numeric address that answered; None on failure. The
    static driver records it as the node's public address (spec launcher 3.5).
    """

    key: Hashable
    host_keys: tuple[str, ...] = ()
    failure: ScanFailure | None = None
    detail: str = ""
    address: str | None = None


class ScanError(Exception):
    """One attempt failed. ``cut_short`` when the scan's deadline ended it rather than the host or its own limit."""

    def __init__(self, failure: ScanFailure, detail: str, *, cut_short: bool = False) -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail
        self.cut_short = cut_short
