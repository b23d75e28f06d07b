"""Reading a configuration: files in, one frozen :class:`Config` or all problems out.

The daemons call :func:`load`, ``nodepool config-validate`` calls :func:`validate`; both do the same work. They differ
in one thing only: what Nodepool 11 daemons ignored is an error for the validator and a warning for a daemon
(:mod:`nodepool.config.report`). Both may be called from any thread; they keep no state.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from nodepool.config.diskimage import abstract_names, read_diskimages
from nodepool.config.document import Document, read_document
from nodepool.config.problem import ConfigurationError, ConfigurationMissing, Problem, Severity
from nodepool.config.provider import GetDriver, ProviderReader
from nodepool.config.report import Report
from nodepool.config.rules import check, entries
from nodepool.config.schema import MAIN
from nodepool.config.secure import check_secure, with_secrets
from nodepool.config.settings import Config, Label, WebappSettings, WebTLSSettings
from nodepool.config.zookeeper import read_zookeeper
from nodepool.driver import registry

FilePath = str | os.PathLike[str]

_RESOURCES = {
    "max-servers": "instances",
    "max-cores": "cores",
    "max-ram": "ram",
    "max-volumes": "volumes",
    "max-volume-gb": "volume-gb",
}
"""Names of tenant limits inside (spec config 10); any other key is the name itself."""
_DEFAULTS = Config()


def load(
    path: FilePath,
    secure_path: FilePath | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    get_driver: GetDriver = registry.get_driver,
) -> Config:
    """Read a configuration for use. ``environ`` is the process's environment unless given.

    :raises ConfigurationMissing: a file does not exist (try again in 0.5 s, up to 3 times: spec config 1).
    :raises ConfigurationError: it cannot be used; holds all problems, warnings included.
    """
    config, problems = _read(path, secure_path, environ, get_driver, strict=False)
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise ConfigurationError(problems)
    return dataclasses.replace(config, warnings=tuple(problems))


def validate(
    path: FilePath,
    secure_path: FilePath | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    get_driver: GetDriver = registry.get_driver,
) -> list[Problem]:
    """All that is wrong with a configuration, in the order of the files; never raises for bad input."""
    try:
        return _read(path, secure_path, environ, get_driver, strict=True)[1]
    except ConfigurationError as error:
        return list(error.problems)


def _read(
    path: FilePath, secure_path: FilePath | None, environ: Mapping[str, str] | None, get_driver: GetDriver, strict: bool
) -> tuple[Config, list[Problem]]:
    """:raises ConfigurationError: a file cannot be read at all."""
    environ = os.environ if environ is None else environ
    failures: list[ConfigurationError] = []
    main = secure = None
    try:
        main = _checked_main(read_document(os.fspath(path), environ), strict)
    except ConfigurationError as error:
        failures.append(error)
    if secure_path is not None:
        try:
            secure = check_secure(read_document(os.fspath(secure_path), environ, secret=True), strict=strict)
        except ConfigurationError as error:
            failures.append(error)
    config = Config() if main is None else _build(main, secure, get_driver)
    problems = [problem for report in (main, secure) if report is not None for problem in _in_order(report)]
    if failures:
        problems += [problem for failure in failures for problem in failure.problems]
        missing = any(isinstance(failure, ConfigurationMissing) for failure in failures)
        raise ConfigurationMissing(problems) if missing else ConfigurationError(problems)
    return config, problems


def _checked_main(document: Document, strict: bool) -> Report:
    if document.data is None:
        message = "the file is empty (it needs at least zookeeper-servers, labels and providers)"
        raise ConfigurationError([Problem(document.file, None, "", message)])
    if not isinstance(document.data, dict):
        message = "the file must be a mapping in YAML: 'providers:', 'labels:' and so on at the beginning of lines"
        raise ConfigurationError([Problem(document.file, document.line(()), "", message)])
    report = Report(document, strict=strict)
    check(MAIN, document.data, report)
    return report


def _build(main: Report, secure: Report | None, get_driver: GetDriver) -> Config:
    diskimages = read_diskimages(main)
    abstract = abstract_names(main)
    if secure is not None:
        diskimages = with_secrets(diskimages, abstract, main.document.file, secure)
    config = Config(
        webapp=_webapp(main),
        elements_dir=_setting(main, "elements-dir", None),
        images_dir=_setting(main, "images-dir", None),
        images_min_free_space=_bytes(main, "images-min-free-space", _DEFAULTS.images_min_free_space),
        images_max_space=_bytes(main, "images-max-space", _DEFAULTS.images_max_space),
        build_log_dir=_setting(main, "build-log-dir", _DEFAULTS.build_log_dir),
        build_log_retention=int(_setting(main, "build-log-retention", _DEFAULTS.build_log_retention)),
        zookeeper=read_zookeeper(main, secure),
        labels=_labels(main),
        max_hold_age=max(0, int(_setting(main, "max-hold-age", 0))),
        diskimages=diskimages,
        tenant_limits=_tenant_limits(main),
    )
    config = dataclasses.replace(config, providers=ProviderReader(main, get_driver, abstract).read(config))
    if main.usable(("providers",)):
        _check_offers(main, config)
    return config


def _setting(main: Report, key: str, default: Any) -> Any:
    value = main.document.data.get(key)
    return default if value in (None, "") or not main.usable((key,)) else value


def _bytes(main: Report, key: str, default: int) -> int:
    value = _setting(main, key, None)
    return default if value is None else int(value * (1 << 30))


def _webapp(main: Report) -> WebappSettings:
    section = _setting(main, "webapp", {})
    builder_port, tls = section.get("builder-port"), section.get("tls")
    return WebappSettings(
        port=int(section.get("port", _DEFAULTS.webapp.port)),
        listen_address=section.get("listen_address", _DEFAULTS.webapp.listen_address),
        builder_port=None if builder_port is None else int(builder_port),
        tls=None if tls is None else WebTLSSettings(tls["cert"], tls["key"]),
        token_file=section.get("token-file"),
    )


def _labels(main: Report) -> Mapping[str, Label]:
    """The labels; one that has an error stands here with defaults, so that pools may refer to it."""
    labels: dict[str, Label] = {}
    first: dict[str, int] = {}
    for index, entry in entries(main.document.data, "labels"):
        name = entry.get("name")
        if not isinstance(name, str):
            continue
        if name in first:
            line = main.line(("labels", first[name]))
            message = f"the label '{name}' is defined a second time (first in line {line}); only the last one counts"
            main.refuse(("labels", index, "name"), message)
        first.setdefault(name, index)
        labels[name] = Label(name)
        if main.usable(("labels", index)):
            max_ready_age = max(0, int(entry.get("max-ready-age", 0)))
            labels[name] = Label(name, min_ready=int(entry.get("min-ready", 0)), max_ready_age=max_ready_age)
    return MappingProxyType(labels)


def _tenant_limits(main: Report) -> Mapping[str, Mapping[str, int]]:
    section = "tenant-resource-limits"
    limits: dict[str, Mapping[str, int]] = {}
    for index, entry in entries(main.document.data, section):
        tenant = entry.get("tenant-name")
        if not isinstance(tenant, str):
            continue
        if tenant in limits:
            message = f"the limits of tenant '{tenant}' are given a second time; only the last ones count"
            main.refuse((section, index, "tenant-name"), message)
        limits[tenant] = MappingProxyType({})
        if main.usable((section, index)):
            amounts = {_RESOURCES.get(key, key): int(entry[key]) for key in entry if key != "tenant-name"}
            limits[tenant] = MappingProxyType(amounts)
    return MappingProxyType(limits)


def _check_offers(main: Report, config: Config) -> None:
    """Warn of labels that no pool offers; only sensible when all providers are known."""
    done: set[str] = set()
    for provider in config.providers.values():
        done |= provider.getSupportedLabels()
    for index, entry in entries(main.document.data, "labels"):
        if not main.usable(("labels", index)) or entry["name"] in done:
            continue
        label = config.labels[entry["name"]]
        done.add(label.name)
        if label.enabled:
            effect = (
                f"its min-ready of {label.min_ready} is never met"
                if label.min_ready
                else "requests for it are not served"
            )
            main.warn(("labels", index, "name"), f"no pool in this file offers the label '{label.name}', so {effect}")


def _in_order(report: Report) -> list[Problem]:
    return sorted(report.problems, key=lambda problem: (problem.line or 0, problem.path))
