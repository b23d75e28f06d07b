"""Flavors: which one a label means, and what a server of it uses (spec drivers 2).

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nodepool.model.resources import Resources


@dataclass(frozen=True, slots=True)
class Flavor:
    """A size of servers; RAM in MiB, disk in GiB."""

    id: str
    name: str
    ram: int
    cores: int
    disk: int = 0
    """0: as large as the image."""

    @property
    def resources(self) -> Resources:
        """What one server uses."""
        return Resources(instances=1, cores=self.cores, ram=self.ram)


def read_flavors(entries: Iterable[Mapping[str, Any]]) -> tuple[Flavor, ...]:
    """The flavors of ``GET /flavors/detail``, smallest RAM first, then by name."""
    flavors = (
        Flavor(entry["id"], entry["name"], entry["ram"], entry["vcpus"], entry.get("disk") or 0) for entry in entries
    )
    return tuple(sorted(flavors, key=lambda flavor: (flavor.ram, flavor.name)))


def choose_flavor(flavors: Iterable[Flavor], name: str | None, min_ram: int | None) -> Flavor | None:
    """The first flavor that suits a label.

    ``name`` alone is an exact name or id; with ``min_ram`` it is a part of the name.
    """
    if name is not None and not min_ram:
        return next((flavor for flavor in flavors if name in (flavor.name, flavor.id)), None)
    return next((flavor for flavor in flavors if flavor.ram >= (min_ram or 0) and (name or "") in flavor.name), None)


def embedded_resources(flavor: Mapping[str, Any]) -> Resources | None:
    """What a server uses by the ``flavor`` of its own record, None if it only refers to one (before Nova 2.47)."""
    if "vcpus" not in flavor or "ram" not in flavor:
        return None
    return Resources(instances=1, cores=flavor["vcpus"], ram=flavor["ram"])
