"""The private keys that a check logs in with, read from files. Says what is wrong with a file, never what is in it."""

from __future__ import annotations

import errno
import io
import stat
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import paramiko
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, SECP521R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

DEFAULT_FILES = ("~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519")
"""Tried in this order if no file is named, as OpenSSH's client does (ssh_config(5), IdentityFile)."""
_MOST_REMEMBERED = 16
_reading = threading.Lock()


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key and the file that it is from."""

    file: str
    key: paramiko.PKey


class KeyProblem(Exception):
    """There is no key to log in with; the text says why, in one sentence."""


def read_keys(key_file: str | None) -> tuple[PrivateKey, ...]:
    """The key of a file, or those of the default files that can be used; never empty. Any thread.

    Raises :class:`KeyProblem`.
    """
    if key_file is not None:
        return (_read(key_file),)
    keys, problems = [], []
    for file in DEFAULT_FILES:
        if Path(file).expanduser().exists():
            try:
                keys.append(_read(file))
            except KeyProblem as problem:
                problems.append(str(problem))
    if not keys:
        found = f" ({'; '.join(problems)})" if problems else ""
        raise KeyProblem(f"there is no private key in ~/.ssh that can be used: name one with key-file{found}")
    return tuple(keys)


def _read(file: str) -> PrivateKey:
    path = Path(file).expanduser()
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        with _reading:
            key = _for_paramiko(_loaded(path, status.st_mtime_ns, status.st_size))
    except OSError as error:
        raise KeyProblem(f"the key file {file} cannot be read: {error.strerror or error}") from None
    except TypeError:  # So says cryptography that a passphrase is missing.
        raise KeyProblem(f"the key file {file} has a passphrase, which nobody is there to type") from None
    except Exception:  # noqa: BLE001 - what a garbled file makes the parsers raise is not documented
        raise KeyProblem(f"the key file {file} holds no private RSA, ECDSA or Ed25519 key") from None
    certificate = Path(f"{path}-cert.pub")
    if certificate.exists():
        try:
            key.load_certificate(str(certificate))
        except Exception:  # noqa: BLE001 - the same
            raise KeyProblem(f"the certificate {file}-cert.pub does not belong to the key, or is none") from None
    return PrivateKey(file, key)


@lru_cache(_MOST_REMEMBERED)
def _loaded(path: Path, _changed: int, _size: int) -> PrivateKeyTypes:
    """The key of a file that has not changed. To load an RSA key takes some tenths of a second of CPU."""
    data = path.read_bytes()
    if b"BEGIN OPENSSH PRIVATE KEY" in data:
        return load_ssh_private_key(data, None)
    return load_pem_private_key(data, None)


def _for_paramiko(key: PrivateKeyTypes) -> paramiko.PKey:
    """The key for a login. paramiko's own readers fail at keys with an empty comment and know no PKCS 8."""
    match key:
        case RSAPrivateKey():
            return paramiko.RSAKey(key=key)
        case EllipticCurvePrivateKey(curve=SECP256R1() | SECP384R1() | SECP521R1()):
            return paramiko.ECDSAKey(vals=(key, key.public_key()))
        case Ed25519PrivateKey():
            text = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
            return paramiko.Ed25519Key(file_obj=io.StringIO(text))
    raise ValueError("a key of another type")
