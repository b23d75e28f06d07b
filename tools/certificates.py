"""A throw-away certificate authority for tests and the quickstart: never for production.

Needs the ``openssl`` program and nothing else. The files it makes are what ``zookeeper-tls`` of ``nodepool.yaml`` and
the PEM key stores of a ZooKeeper server expect.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
_EXTENSIONS = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its key; ``store`` holds both in one file, as ZooKeeper servers want them."""

    certificate: Path
    key: Path
    store: Path


class Authority:
    """A certificate authority in a directory of its own. ``certificate`` is the file to trust."""

    def __init__(self, directory: Path, name: str = "throw-away authority") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._key = directory / "ca.key"
        self.certificate = directory / "ca.pem"
        subject = ["-subj", f"/CN={name}"]
        _openssl("req", "-x509", *_CURVE, "-days", "3650", *subject, "-keyout", self._key, "-out", self.certificate)

    def issue(self, name: str) -> Certificate:
        """Make a certificate for ``name``, good for servers and clients on loopback addresses."""
        key, request, signed, store, extensions = (
            self._directory / f"{name}{suffix}" for suffix in (".key", ".csr", ".pem", "-store.pem", ".ext")
        )
        extensions.write_text(_EXTENSIONS, encoding="ascii")
        _openssl("req", *_CURVE, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        signer: list[str | Path] = ["-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial", "-days", "3650"]
        _openssl("x509", "-req", "-in", request, *signer, "-extfile", extensions, "-out", signed)
        store.write_bytes(key.read_bytes() + signed.read_bytes())
        store.chmod(0o600)
        return Certificate(signed, key, store)


def _openssl(*arguments: str | Path) -> None:
    result = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"openssl {arguments[0]} failed: {result.stderr.strip()}")
