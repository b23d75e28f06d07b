"""The clouds.yaml that lets a client use a simulated cloud. Pure but for :func:`write`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tools.cloud.identity import APPLICATION_CREDENTIAL
from tools.cloud.state import Cloud


def document(cloud: Cloud) -> dict[str, Any]:
    """Entries: NAME (password), NAME-application (application credential), NAME-wrong (a wrong password)."""
    identity, name = cloud.identity, cloud.settings.name
    url = f"{cloud.url}/identity/v3"
    regions = list(cloud.regions)
    common: dict[str, Any] = {
        **({"region_name": regions[0]} if len(regions) == 1 else {"regions": regions}),
        "identity_api_version": "3",
        "image_format": "qcow2",
    }
    password = {
        "auth_url": url,
        "username": identity.user,
        "password": identity.password,
        "project_name": identity.project,
        "user_domain_name": "Default",
        "project_domain_name": "Default",
    }
    application = {
        "auth_url": url,
        "application_credential_id": identity.application_id,
        "application_credential_secret": identity.application_secret,
    }
    return {
        "clouds": {
            name: {**common, "auth": password},
            f"{name}-{APPLICATION_CREDENTIAL}": {
                **common,
                "auth_type": "v3applicationcredential",
                "auth": application,
            },
            f"{name}-wrong": {**common, "auth": {**password, "password": "wrong"}},
        }
    }


def write(cloud: Cloud, path: Path) -> None:
    """Write it for the running ``cloud``."""
    path.write_text(yaml.safe_dump(document(cloud), sort_keys=False), encoding="utf-8")
    path.chmod(0o600)
