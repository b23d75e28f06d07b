"""Who may look: whoever knows the token, if there is one.

It comes as a bearer token (RFC 6750), or as the password of HTTP's basic authentication with any user name, which is
what browsers can ask for. The token is never logged or shown.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from pathlib import Path

SHORTEST_TOKEN = 16
"""Characters: a shorter one could be guessed."""
CHALLENGE = 'Bearer realm="Nodepool", Basic realm="Nodepool", charset="UTF-8"'
"""What the header ``WWW-Authenticate`` says to those who do not know the token."""


def read_token(path: str) -> str:
    """The token in a file, without the line end.

    :raises ValueError: there is no good one; the message does not show it
    """
    try:
        token = Path(path).read_text(encoding="ascii").strip()
    except UnicodeDecodeError:
        raise ValueError(f"{path} holds more than ASCII characters ({_ADVICE})") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error} ({_ADVICE})") from error
    if not token.isprintable() or " " in token:
        raise ValueError(f"{path} holds more than one word ({_ADVICE})")
    if len(token) < SHORTEST_TOKEN:
        raise ValueError(f"the token in {path} is shorter than {SHORTEST_TOKEN} characters ({_ADVICE})")
    return token


def knows(token: str, authorization: str | None) -> bool:
    """Whether the header ``Authorization`` has the token."""
    scheme, _, credentials = (authorization or "").partition(" ")
    told = credentials.strip()
    if scheme.lower() == "basic":
        told = _password(told)
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(told.encode("utf-8", "replace"), token.encode())


def _password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


_ADVICE = "make one with: openssl rand -hex 32"
