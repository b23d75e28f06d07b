"""The providers: choosing the driver, checking with the driver's own schema, and making its frozen settings.

The drivers are asked in the order of the file. A driver sees the labels, the images and the providers before its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from nodepool.config.problem import Path
from nodepool.config.report import Report
from nodepool.config.rules import check, entries
from nodepool.config.settings import Config
from nodepool.config.wording import nearest
from nodepool.driver.contract import Driver, ProviderConfig
from nodepool.driver.registry import DriverError, UnknownDriver, driver_for_provider

GetDriver = Callable[[str], Driver]

_SECTION = "providers"
_LATER = frozenset(
    ("openstack", "aws", "azure", "gce", "ibmvpc", "kubernetes", "metastatic", "openshift", "openshiftpods")
)
"""Drivers of Nodepool 11; those that the registry does not have are not in this release."""


@dataclass(frozen=True, slots=True)
class ProviderReader:
    """Reads the providers of one file."""

    report: Report
    get_driver: GetDriver
    abstract: frozenset[str]
    """Names of the images that are only templates."""

    def read(self, config: Config) -> Mapping[str, ProviderConfig]:
        """The providers without errors, by name in the order of the file.

        :param config: everything but the providers; drivers resolve names in it.
        """
        providers: dict[str, ProviderConfig] = {}
        all_entries = entries(self.report.document.data, _SECTION)
        self._check_names("provider", (_SECTION,), all_entries)
        for index, entry in all_entries:
            place = (_SECTION, index)
            self._check_names("pool", (*place, "pools"), entries(entry, "pools"))
            provider = self._provider(entry, place, config)
            if provider is not None:
                providers[provider.name] = provider
                config = dataclasses.replace(config, providers=MappingProxyType(dict(providers)))
        return MappingProxyType(providers)

    def _provider(self, entry: Mapping[str, Any], place: Path, config: Config) -> ProviderConfig | None:
        if not self.report.usable((*place, "driver")):
            return None
        name = driver_for_provider(entry)
        try:
            driver = self.get_driver(name)
        except DriverError as error:
            self.report.error((*place, "driver"), _no_driver(name, entry, error))
            return None
        # Drivers from outside this package run here, and their documented contract names no errors: whatever one
        # raises is a fault of this provider alone and must not hide the problems of the others.
        try:
            return self._asked(driver, entry, place, config)
        except Exception as error:  # noqa: BLE001
            message = f"the driver {name} cannot use this provider: {type(error).__name__}: {error}"
            self.report.error(place, message)
            return None

    def _asked(self, driver: Driver, entry: Mapping[str, Any], place: Path, config: Config) -> ProviderConfig | None:
        """What the driver makes of an entry; None if it, or an earlier check, found an error in it."""
        provider = driver.getProviderConfig(dict(entry))
        check(provider.getSchema(), dict(entry), self.report, place, skip=("name", "driver"))
        if self.report.usable(place):
            wrong = dict(self._templates(entry))
            for problem in provider.checkReferences(config):
                if problem.tolerated:
                    self.report.refuse((*place, *problem.path), problem.message)
                else:
                    wrong.setdefault(problem.path, problem.message)
            for path, message in wrong.items():
                self.report.error((*place, *path), message)
        if not self.report.usable(place):
            return None
        provider.load(config)
        provider.getSupportedLabels()  # asked for later too, where a driver that fails at it would do more harm
        return provider

    def _templates(self, entry: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
        """Where abstract images are named; for the driver they do not exist, which would be told less clearly."""
        for index, image in entries(entry, "diskimages"):
            if image.get("name") in self.abstract:
                message = f"'{image['name']}' is abstract: it is only a template (name an image that has it as parent)"
                yield ("diskimages", index, "name"), message

    def _check_names(self, kind: str, place: Path, found: list[tuple[int, Mapping[Any, Any]]]) -> None:
        """Report names that stand twice in a list."""
        first: dict[str, int] = {}
        for index, entry in found:
            name = entry.get("name")
            if not isinstance(name, str):
                continue
            if name in first:
                line = self.report.line((*place, first[name]))
                message = (
                    f"the {kind} '{name}' is defined a second time (first in line {line}); only the last one counts"
                )
                self.report.refuse((*place, index, "name"), message)
            first.setdefault(name, index)


def _no_driver(name: str, entry: Mapping[str, Any], error: DriverError) -> str:
    if not isinstance(error, UnknownDriver):
        return str(error)
    known = ", ".join(error.known)
    if name not in _LATER:
        return f"there is no driver '{name}'{nearest(name, error.known)}; known drivers: {known}"
    implied = "" if "driver" in entry else " (it is meant when no driver is named)"
    return f"driver {name}{implied} is not part of this release; known drivers: {known}"
