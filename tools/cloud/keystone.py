"""Keystone's calls: versions, tokens with the catalogue, who am I. Pure."""

from __future__ import annotations

from typing import Any

from tools.cloud.exchange import Answer, Call, answer_json
from tools.cloud.identity import APPLICATION_CREDENTIAL, Identity, Token
from tools.cloud.records import Refused
from tools.cloud.routes import Route
from tools.cloud.timeline import iso

_DOMAIN = {"id": "default", "name": "Default"}
_SERVICES = (
    ("compute", "nova", "compute/v2.1"),
    ("network", "neutron", "network"),
    ("image", "glance", "image"),
    ("block-storage", "cinder", "volume/v3"),
)
"""Type, name and path in a region."""
_UNAUTHORIZED = "The request you have made requires authentication."


def list_versions(call: Call) -> Answer:
    """GET /."""
    return answer_json({"versions": {"values": [_version(call)]}}, 300)


def show_version(call: Call) -> Answer:
    """GET /v3."""
    return answer_json({"version": _version(call)})


def create_token(call: Call) -> Answer:
    """POST /v3/auth/tokens: by password, token or application credential."""
    identity, wanted = call.cloud.identity, call.request.part("auth")
    method = _authenticate(call, wanted.get("identity") or {})
    if not _scope_fits(identity, wanted.get("scope")):
        raise Refused(401, _UNAUTHORIZED)
    token = identity.issue(call.cloud.now, method)
    return answer_json({"token": _view(call, token)}, 201, {"X-Subject-Token": token.id})


def show_token(call: Call) -> Answer:
    """GET /v3/auth/tokens."""
    token = call.cloud.identity.token(call.request.headers.get("x-subject-token", ""), call.cloud.now)
    if token is None:
        raise Refused(404, "Failed to validate token")
    return answer_json({"token": _view(call, token)}, 200, {"X-Subject-Token": token.id})


def show_catalog(call: Call) -> Answer:
    """GET /v3/auth/catalog."""
    return answer_json({"catalog": _catalog(call)})


def list_projects(call: Call) -> Answer:
    """GET /v3/auth/projects and /v3/projects."""
    return answer_json({"projects": [_project(call.cloud.identity)], "links": {}})


def show_project(call: Call) -> Answer:
    """GET /v3/projects/ID."""
    if call.arguments[0] != call.cloud.identity.project_id:
        raise Refused(404, f"Could not find project: {call.arguments[0]}.")
    return answer_json({"project": _project(call.cloud.identity)})


def _authenticate(call: Call, wanted: dict[str, Any]) -> str:
    identity, methods = call.cloud.identity, wanted.get("methods") or [""]
    method = str(methods[0])
    given = wanted.get(method) or {}
    match method:
        case "password":
            user = given.get("user") or {}
            known = user.get("name") == identity.user or user.get("id") == identity.user_id
            accepted = known and user.get("password") == identity.password
        case "token":
            accepted = identity.token(str(given.get("id")), call.cloud.now) is not None
        case "application_credential":
            if "id" in given and given["id"] != identity.application_id:
                raise Refused(404, f"Could not find Application Credential: {given['id']}.")
            known = given.get("id") == identity.application_id or given.get("name") == APPLICATION_CREDENTIAL
            accepted = known and given.get("secret") == identity.application_secret and not identity.application_expired
        case _:
            accepted = False
    if not accepted or not identity.project_enabled:
        raise Refused(401, _UNAUTHORIZED)
    return method


def _scope_fits(identity: Identity, scope: object) -> bool:
    project = scope.get("project") if isinstance(scope, dict) else None
    if project is None:
        return True
    return bool(project.get("name") == identity.project or project.get("id") == identity.project_id)


def _view(call: Call, token: Token) -> dict[str, Any]:
    identity = call.cloud.identity
    return {
        "methods": [token.method],
        "user": {"id": identity.user_id, "name": identity.user, "domain": _DOMAIN, "password_expires_at": None},
        "audit_ids": [token.id[:22]],
        "issued_at": _moment(token.issued),
        "expires_at": _moment(token.expires),
        "is_domain": False,
        "project": {"id": identity.project_id, "name": identity.project, "domain": _DOMAIN},
        "roles": [{"id": "member", "name": "member"}, {"id": "reader", "name": "reader"}],
        "catalog": _catalog(call),
    }


def _catalog(call: Call) -> list[dict[str, Any]]:
    regions = call.cloud.regions
    services = [
        {
            "id": name,
            "name": name,
            "type": kind,
            "endpoints": [_endpoint(name, region, f"{call.cloud.url}/{region}/{path}") for region in regions],
        }
        for kind, name, path in _SERVICES
        if kind not in call.cloud.identity.hidden_services
    ]
    endpoints = [_endpoint("keystone", region, f"{call.cloud.url}/identity") for region in regions]
    return [*services, {"id": "keystone", "name": "keystone", "type": "identity", "endpoints": endpoints}]


def _endpoint(service: str, region: str, url: str) -> dict[str, str]:
    return {"id": f"{service}-{region}", "interface": "public", "region": region, "region_id": region, "url": url}


def _project(identity: Identity) -> dict[str, Any]:
    return {
        "id": identity.project_id,
        "name": identity.project,
        "domain_id": _DOMAIN["id"],
        "parent_id": _DOMAIN["id"],
        "enabled": True,
        "is_domain": False,
        "description": "",
        "tags": [],
        "options": {},
        "links": {},
    }


def _version(call: Call) -> dict[str, Any]:
    links = [{"rel": "self", "href": f"{call.cloud.url}/identity/v3/"}]
    return {"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z", "links": links, "media-types": []}


def _moment(seconds: float) -> str:
    return iso(seconds)[:-1] + ".000000Z"


ROUTES = (
    Route("GET", "", "identity.version.list", list_versions, open=True),
    Route("GET", "v3", "identity.version.show", show_version, open=True),
    Route("POST", "v3/auth/tokens", "identity.token.create", create_token, open=True),
    Route("GET", "v3/auth/tokens", "identity.token.show", show_token),
    Route("GET", "v3/auth/catalog", "identity.catalog.show", show_catalog),
    Route("GET", "v3/auth/projects", "identity.project.list", list_projects),
    Route("GET", "v3/projects", "identity.project.list", list_projects),
    Route("GET", "v3/projects/*", "identity.project.show", show_project),
)
