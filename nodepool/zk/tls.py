"""The files with which we and ZooKeeper's servers know each other."""

from __future__ import annotations

import ssl
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """Paths of PEM files: our certificate, its key and the authority that signed the servers' certificates.

    Servers' host names are not compared with their certificates: Nodepool never did, and sites' certificates do not
    all bear them.
    """

    cert: str
    key: str
    ca: str

    def context(self) -> ssl.SSLContext:
        """Trusts ``ca`` and nothing else. Raises :class:`ValueError`, naming the file, if one cannot be used."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        for path in (self.cert, self.key, self.ca):
            try:
                with open(path, "rb"):
                    pass
            except OSError as error:
                raise ValueError(f"zookeeper-tls: cannot read {path}: {error.strerror}") from error
        try:
            context.load_verify_locations(self.ca)
        except ssl.SSLError as error:
            raise ValueError(f"zookeeper-tls: {self.ca} (ca) holds no PEM certificate") from error
        try:
            context.load_cert_chain(self.cert, self.key, password=_no_password)
        except (ssl.SSLError, ValueError) as error:
            message = "are not a PEM certificate and its key without a password"
            raise ValueError(f"zookeeper-tls: {self.cert} (cert) and {self.key} (key) {message}") from error
        return context


def _no_password() -> str:
    raise ValueError("the key needs a password")
