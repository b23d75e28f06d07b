"""Who may use the cloud: one user with a password, application credentials, and tokens that expire. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tools.cloud.chance import Chance
from tools.cloud.settings import CloudSettings

APPLICATION_CREDENTIAL = "application"
"""Name of the application credential; its secret is :attr:`Identity.application_secret`."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token. Times are epoch seconds."""

    id: str
    issued: float
    expires: float
    method: str


class Identity:
    """What Keystone knows."""

    def __init__(self, settings: CloudSettings, chance: Chance) -> None:
        self._chance = chance
        self.user = settings.user
        self.password = settings.password
        self.project = settings.project
        self.user_id = chance.identifier("user").replace("-", "")
        self.project_id = chance.identifier("project").replace("-", "")
        self.application_id = chance.identifier("application").replace("-", "")
        self.application_secret = f"{settings.password}-application"
        self.token_seconds = settings.token_seconds
        self.application_expired = False
        self.project_enabled = True
        self.hidden_services: list[str] = []
        """Types of services that the catalogue leaves out."""
        self._tokens: dict[str, Token] = {}

    def issue(self, now: float, method: str) -> Token:
        """A new token."""
        if len(self._tokens) > 1000:
            self._tokens = {token.id: token for token in self._tokens.values() if token.expires > now}
        identifier = self._chance.identifier("token").replace("-", "")
        token = self._tokens[identifier] = Token(identifier, now, now + self.token_seconds, method)
        return token

    def token(self, identifier: str, now: float) -> Token | None:
        """The token, if it is valid."""
        token = self._tokens.get(identifier)
        return token if token is not None and token.expires > now else None

    def revoke_all(self) -> None:
        """No token given out so far is valid any more."""
        self._tokens.clear()
