"""Who may use a simulated cloud: credentials, tokens, catalogue."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.cloud.desk import Desk
from tools.cloud.exchange import Answer


def _login(desk: Desk, identity: dict[str, Any], scope: dict[str, Any] | None = None) -> Answer:
    auth = {"identity": identity} | ({"scope": scope} if scope else {})
    return desk.call("POST", "/identity/v3/auth/tokens", {"auth": auth}, x_auth_token="")


def _password(password: str, name: str = "demo") -> dict[str, Any]:
    user = {"name": name, "password": password, "domain": {"name": "Default"}}
    return {"methods": ["password"], "password": {"user": user}}


def test_a_password_gives_a_token_with_the_catalogue_of_all_regions() -> None:
    desk = Desk(regions={"east": {}, "west": {}})
    answer = _login(desk, _password("secret"), {"project": {"name": "demo"}})
    assert answer.status == 201
    token = json.loads(answer.body)["token"]
    endpoints = {entry["type"]: [place["region"] for place in entry["endpoints"]] for entry in token["catalog"]}
    assert endpoints.keys() == {"compute", "network", "image", "block-storage", "identity"}
    assert set(map(tuple, endpoints.values())) == {("east", "west")}
    desk.ask("GET", "/compute/v2.1/flavors", x_auth_token=answer.headers["X-Subject-Token"])


@pytest.mark.parametrize(
    "identity",
    [
        _password("wrong"),
        _password("secret", "nobody"),
        {"methods": ["token"], "token": {"id": "x"}},
        {"methods": ["application_credential"], "application_credential": {"name": "application", "secret": "x"}},
        {"methods": ["mapped"]},
        {},
    ],
)
def test_wrong_credentials_are_refused(identity: dict[str, Any]) -> None:
    assert _login(Desk(), identity).status == 401


def test_another_project_is_refused() -> None:
    assert _login(Desk(), _password("secret"), {"project": {"name": "other"}}).status == 401


def test_an_application_credential_and_a_token_are_as_good_as_a_password() -> None:
    desk = Desk()
    known = desk.cloud.identity
    credential = {"id": known.application_id, "secret": known.application_secret}
    answer = _login(desk, {"methods": ["application_credential"], "application_credential": credential})
    token = answer.headers["X-Subject-Token"]
    assert _login(desk, {"methods": ["token"], "token": {"id": token}}).status == 201


def test_tokens_expire_and_can_be_revoked() -> None:
    desk = Desk(token_seconds=100)
    desk.listed()
    desk.move(100)
    answer = desk.call("GET", "/compute/v2.1/servers/detail")
    assert (answer.status, "Keystone" in answer.headers["WWW-Authenticate"]) == (401, True)
    desk.token = _login(desk, _password("secret")).headers["X-Subject-Token"]
    desk.listed()
    desk.ask("POST", "/control/tokens/revoke")
    assert desk.call("GET", "/network/v2.0/ports").status == 401


def test_a_password_can_be_changed_while_the_cloud_runs() -> None:
    desk = Desk()
    desk.ask("POST", "/control/identity", {"password": "new"})
    assert _login(desk, _password("secret")).status == 401
    assert _login(desk, _password("new")).status == 201


@pytest.mark.parametrize("path", ["/compute/v2.1", "/compute", "/network", "/image", "/image/v2", "/volume/v3"])
def test_versions_are_told_without_a_token(path: str) -> None:
    desk = Desk()
    desk.ask("GET", path, x_auth_token="")


def test_unknown_paths_are_not_found_and_counted() -> None:
    desk = Desk()
    assert desk.call("GET", "/compute/v2.1/os-nothing/at/all").status == 404
    assert desk.call("PATCH", "/compute/v2.1/servers/x").status == 404
    assert desk.accounting()["calls"]["compute.unknown"]["count"] == 2
    assert desk.call("GET", "/nothing/at/all").status == 404
