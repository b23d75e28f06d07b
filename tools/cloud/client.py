"""A client of the control API, for tests and benchmarks."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from typing import Any

from tools.cloud.settings import DEFAULT_REGION

_SECONDS = 30.0


class ControlError(RuntimeError):
    """The control API refused; the message is its own."""


class CloudControl:
    """Steers the simulated cloud at ``url``. Safe from any thread. Calls raise :class:`ControlError` or OSError."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._context = ssl._create_unverified_context() if url.startswith("https") else None

    def accounting(self) -> dict[str, Any]:
        """What has happened, for all regions."""
        return dict(self._call("GET", "accounting"))

    def region(self, region: str = DEFAULT_REGION) -> dict[str, Any]:
        """What has happened in one region."""
        return dict(self.accounting()["regions"][region])

    def count(self, kind: str, region: str = DEFAULT_REGION) -> int:
        """How many calls of one kind there were."""
        return int(self.region(region)["calls"].get(kind, {"count": 0})["count"])

    def reset(self) -> None:
        """Begin to count anew."""
        self._call("POST", "accounting/reset")

    def resources(self, region: str = DEFAULT_REGION) -> dict[str, list[dict[str, Any]]]:
        """All servers, ports, floating addresses, volumes and images that are there."""
        return dict(self._call("GET", f"regions/{region}/resources"))

    def change(self, region: str = DEFAULT_REGION, **settings: object) -> None:
        """New values for settings of a region, for example ``quota={"instances": 5}`` or ``boot=3``."""
        self._call("POST", f"regions/{region}", settings)

    def add_faults(
        self,
        *,
        calls: Iterable[Mapping[str, object]] = (),
        servers: Iterable[Mapping[str, object]] = (),
        images: Iterable[Mapping[str, object]] = (),
        regions: Iterable[str] = (),
    ) -> None:
        """Put rules into force, everywhere or in some regions (Keystone is the region ``identity``)."""
        rules = {"calls": list(calls), "servers": list(servers), "images": list(images)}
        self._call("POST", "faults", {"add": rules, "regions": list(regions)})

    def clear_faults(self, regions: Iterable[str] = ()) -> None:
        """End all rules, everywhere or in some regions."""
        self._call("POST", "faults", {"clear": True, "regions": list(regions)})

    def set_server(self, server_id: str, status: str, message: str = "", region: str = DEFAULT_REGION) -> None:
        """Let a server fail (ERROR), stop (SHUTOFF) or vanish (DELETED)."""
        self._call("POST", f"regions/{region}/servers/{server_id}", {"status": status, "message": message})

    def revoke_tokens(self) -> None:
        """Make all tokens invalid."""
        self._call("POST", "tokens/revoke")

    def change_identity(self, **values: object) -> None:
        """A new ``password``, ``application_secret`` or ``token_seconds``; ``application_expired`` or
        ``project_enabled`` (True or False); ``hidden_services`` (types that the catalogue leaves out)."""
        self._call("POST", "identity", values)

    def _call(self, method: str, path: str, document: object = None) -> Any:
        data = json.dumps(document).encode() if method == "POST" else None
        request = urllib.request.Request(f"{self.url}/control/{path}", data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS, context=self._context) as answer:
                body = answer.read()
        except urllib.error.HTTPError as problem:
            raise ControlError(problem.read().decode("utf-8", "replace")) from None
        return json.loads(body) if body else None
