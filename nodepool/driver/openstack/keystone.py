"""What went wrong while connecting to a cloud, for the operator: Keystone is not there, or does not accept us.

Asks nobody. No message may show a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import requests
from keystoneauth1 import exceptions as keystone

from nodepool.driver.errors import CloudError, Misconfigured, RateLimited, Unauthorized
from nodepool.driver.openstack.clouds_yaml import CloudEntry
from nodepool.driver.openstack.explanations import (
    address_of,
    explain,
    hide,
    is_certificate_trouble,
    one_line,
    shown_url,
)

_APPENDED = re.compile(r"\s*\((HTTP \d+|Request-ID: [^)]*)\)")
"""What keystoneauth appends to a message."""
_OF_AN_EXCHANGE = (keystone.ConnectionError, keystone.DiscoveryFailure, requests.RequestException, OSError)


def error_of_keystone(error: Exception, entry: CloudEntry) -> CloudError:
    """The error for what a library raised while it was connecting by an entry of clouds.yaml."""
    where = f"cloud '{entry.name}' of {entry.source}"
    address = shown_url(entry.auth_url)
    keystone_there = f"{where}: Keystone at {address}" if address else where
    if isinstance(error, keystone.Unauthorized | keystone.AuthorizationFailure):
        return Unauthorized(f"{keystone_there} does not accept {_who(entry)}; no restart is needed")
    if isinstance(error, keystone.HttpError):
        return _of_answer(error, keystone_there, entry)
    if isinstance(error, keystone.DiscoveryFailure):
        return _of_discovery(error, keystone_there, entry)
    if isinstance(error, keystone.CatalogException):
        return Misconfigured(f"{keystone_there}: {one_line(str(error))} (auth.project_name, region_name, interface)")
    text = hide(explain(error), entry.secrets)
    if not isinstance(error, _OF_AN_EXCHANGE):
        return Misconfigured(f"{where}: openstacksdk cannot use it: {text}")
    elsewhere = address_of(error)
    if elsewhere is not None and not address.startswith(elsewhere):
        text = f"{elsewhere}: {text}"
    return (Misconfigured if is_certificate_trouble(error) else CloudError)(f"{keystone_there}: {text}")


def _of_discovery(error: Exception, there: str, entry: CloudEntry) -> CloudError:
    """It could not be found out which versions of Keystone there are: no answer, a strange one, or no Keystone."""
    inner = error.__cause__ or error.__context__
    while inner is not None:
        if isinstance(inner, keystone.HttpError):
            return _of_answer(inner, there, entry)
        if isinstance(inner, keystone.ConnectionError):
            kind = Misconfigured if is_certificate_trouble(inner) else CloudError
            return kind(f"{there}: {hide(explain(inner), entry.secrets)}")
        inner = inner.__cause__ or inner.__context__
    text = hide(one_line(str(error)), entry.secrets)
    return Misconfigured(f"{there}: there is no Keystone ({text}); put auth.auth_url right")


def _who(entry: CloudEntry) -> str:
    """Who is not accepted, why that may be, and which keys say it."""
    auth: Mapping[str, Any] = entry.config.config["auth"]
    unquoted = "".join(f"; YAML takes auth.{key} for a number: put it in quotes" for key in entry.unquoted)
    application = auth.get("application_credential_id") or auth.get("application_credential_name")
    if application:
        return (
            f"the application credential '{application}': its secret is wrong, or it has expired or was deleted; put "
            f"auth.application_credential_id and auth.application_credential_secret right{unquoted}"
        )
    user = auth.get("username") or auth.get("user_id")
    if user:
        project = auth.get("project_name") or auth.get("project_id")
        place = f"the user '{user}'" + (f" in the project '{project}'" if project else "")
        return (
            f"{place}: the password is wrong or has expired, or the user or project is unknown or disabled; put "
            f"auth.username, auth.password, auth.project_name and the domains right{unquoted}"
        )
    kind = entry.config.config.get("auth_type")
    return f"the credentials of auth_type '{kind}': they are wrong or have expired; put 'auth' right{unquoted}"


def _of_answer(error: keystone.HttpError, there: str, entry: CloudEntry) -> CloudError:
    status = error.http_status
    text = hide(one_line(_APPENDED.sub("", error.message or "")).rstrip("."), entry.secrets)
    told = f"{there}: HTTP {status}" + (f": {text}" if text else "")
    if status == 429:
        return RateLimited(told, float(getattr(error, "retry_after", 0) or 1.0))
    if status == 404 and text.startswith("Could not find"):
        # Keystone says so of an application credential that was deleted.
        return Unauthorized(f"{there} does not accept {_who(entry)}; no restart is needed")
    if status in (404, 405, 300):
        return Misconfigured(f"{told}: there is no Keystone; put auth.auth_url right")
    if status == 400:
        return Misconfigured(f"{told}: put 'auth' right")
    return CloudError(told)
