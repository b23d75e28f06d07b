"""A simulated cloud without sockets, on a clock that the test moves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tools.cloud.api import Api, Reaction
from tools.cloud.exchange import Answer, Request
from tools.cloud.images import Upload
from tools.cloud.settings import DEFAULT_REGION, read_settings
from tools.cloud.state import Cloud, Region

START = 1_800_000_000.0
MICROVERSION = "compute 2.96"


class Desk:
    """Asks the cloud as a client does that is logged in."""

    def __init__(self, region: Mapping[str, Any] | None = None, **settings: Any) -> None:
        document = {
            "region": {"boot": 5, "scheduling": 0, "delete": 2, **(region or {})},
            "token_seconds": 1e9,
            **settings,
        }
        self.cloud = Cloud(read_settings(document), START)
        self.api = Api(self.cloud)
        self.now = START
        self.token = self.cloud.identity.issue(START, "password").id

    @property
    def region(self) -> Region:
        """The state of the first region."""
        return next(iter(self.cloud.regions.values()))

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.cloud.advance(self.now)

    def react(self, method: str, path: str, document: object = None, **headers: str) -> Reaction:
        """One call; ``path`` starts with the service, in the first region."""
        path, _, query = path.partition("?")
        given = {"x-auth-token": self.token, "openstack-api-version": MICROVERSION}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        body = b"" if document is None else json.dumps(document).encode()
        region = "" if path.startswith(("/identity", "/control")) else f"/{next(iter(self.cloud.regions))}"
        return self.api.react(Request(method, f"{region}{path}", query, given, body), self.now)

    def call(self, method: str, path: str, document: object = None, **headers: str) -> Answer:
        """The answer to a call that has one."""
        answer = self.react(method, path, document, **headers).answer
        assert answer is not None, f"{method} {path} was not answered"
        return answer

    def ask(self, method: str, path: str, document: object = None, **headers: str) -> Any:
        """The document in the answer to a call that succeeds."""
        answer = self.call(method, path, document, **headers)
        assert answer.status < 300, f"{method} {path}: {answer.status} {answer.body!r}"
        return json.loads(answer.body) if answer.body else None

    def delete_port(self, port_id: str) -> None:
        """Remove a port as a member may: it must name no server."""
        self.ask("PUT", f"/network/v2.0/ports/{port_id}", {"port": {"device_id": "", "device_owner": ""}})
        self.ask("DELETE", f"/network/v2.0/ports/{port_id}")

    def refusal(self, method: str, path: str, document: object = None, **headers: str) -> tuple[int, str]:
        """Status and message of a call that fails."""
        answer = self.call(method, path, document, **headers)
        assert answer.status >= 400, f"{method} {path}: {answer.status}"
        told = json.loads(answer.body)
        details = told if "message" in told else next(iter(told.values()))
        return answer.status, details["message"]

    def order(self, name: str = "np1", flavor: str = "m1.tiny", **further: Any) -> dict[str, Any]:
        """The body of a create call."""
        flavors = {entry.name: entry.id for entry in self.region.flavors.values()}
        network = self.region.networking.network("private")
        return {
            "server": {
                "name": name,
                "flavorRef": flavors[flavor],
                "imageRef": next(iter(self.region.images.images)),
                "networks": [{"uuid": network.id}] if network else "none",
                **further,
            }
        }

    def create(self, name: str = "np1", **further: Any) -> str:
        """Create a server; returns its id."""
        return str(self.ask("POST", "/compute/v2.1/servers", self.order(name, **further))["server"]["id"])

    def show(self, server_id: str) -> dict[str, Any]:
        """A server as it is."""
        return dict(self.ask("GET", f"/compute/v2.1/servers/{server_id}")["server"])

    def listed(self, query: str = "") -> list[dict[str, Any]]:
        """One page of the list of servers."""
        return list(self.ask("GET", f"/compute/v2.1/servers/detail{query}")["servers"])

    def delete(self, server_id: str) -> None:
        """Delete a server."""
        self.ask("DELETE", f"/compute/v2.1/servers/{server_id}")

    def exists(self, server_id: str) -> bool:
        """Whether a server is there."""
        return self.call("GET", f"/compute/v2.1/servers/{server_id}").status == 200

    def upload(self, image_id: str, data: Upload) -> Answer:
        """Send the data of an image."""
        path, headers = f"/{DEFAULT_REGION}/image/v2/images/{image_id}/file", {"x-auth-token": self.token}
        answer = self.api.react(Request("PUT", path, "", headers, b"", data), self.now).answer
        assert answer is not None
        return answer

    def accounting(self) -> dict[str, Any]:
        """The accounting of the first region."""
        return dict(next(iter(self.ask("GET", "/control/accounting")["regions"].values())))
