"""Reads an entry of clouds.yaml, and says what is wrong with one that cannot be used. Asks no cloud.

openstacksdk finds the files, joins ``secure.yaml`` to them and knows all the keys; it says little of what it does not
like, and passes over files that it cannot read. So they are looked at here first. No message may show a secret.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points, version
from typing import Any, cast
from urllib.parse import urlsplit

import yaml
from keystoneauth1 import exceptions as keystone
from keystoneauth1 import loading
from keystoneauth1 import session as keystone_session
from openstack.config import OpenStackConfig, cloud_region, loader

from nodepool.driver.errors import Misconfigured
from nodepool.driver.openstack.explanations import hide, one_line, shown_url
from nodepool.driver.openstack.suggestions import did_you_mean, there_are

Stamp = tuple[tuple[int, int, int, int] | None, ...]
"""What tells versions of the files apart: one entry per file that might be there."""
_FILE, _SECURE_FILE, _ENVIRONMENT = "OS_CLIENT_CONFIG_FILE", "OS_CLIENT_SECURE_FILE", "OS_CLOUD_NAME"
_SECRET = re.compile(r"password|secret|token|passcode", re.I)
_UNKNOWN_KEY = re.compile(r"unexpected keyword argument '(\w+)'")
_UNKNOWN_REGION = re.compile(r"^Region (?P<wanted>.*) is not a valid region name .* choices are (?P<known>.*?)\. ")


@dataclass(frozen=True, slots=True)
class CloudEntry:
    """An entry of clouds.yaml that can be used, as far as that can be known without asking the cloud."""

    config: cloud_region.CloudRegion
    name: str
    source: str
    """The file."""
    unquoted: tuple[str, ...] = ()
    """Keys of ``auth`` whose values YAML does not take for text; they may have become something else."""
    troubles: tuple[str, ...] = ()
    """What is wrong with other files."""

    @property
    def auth_url(self) -> str:
        """Where Keystone is said to be."""
        return str(self.config.config["auth"].get("auth_url") or "")

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that no message may show."""
        return _secrets(self.config.config)

    def is_like(self, other: CloudEntry) -> bool:
        """Whether it says the same."""
        ours, theirs = self.config, other.config
        return bool(ours.config == theirs.config and ours.force_ipv4 == theirs.force_ipv4)


@dataclass(frozen=True, slots=True)
class _File:
    """The first file that can be read, and what is wrong with those that would have come first."""

    path: str | None
    content: Any
    troubles: tuple[str, ...]


def read_entry(name: str, region: str | None, open_session: Callable[..., keystone_session.Session]) -> CloudEntry:
    """The entry ``name``, in ``region`` if it is not None. Raises Misconfigured.

    :param open_session: makes the session for all exchanges, as keystoneauth's own class does
    """
    main, secure = _first(_main_files()), _first(_secure_files())
    where = main.path or "the environment"
    raw: Any = None
    if name != os.environ.get(_ENVIRONMENT, "envvars"):
        raw = _look_up(name, main, secure)
        _check_shape(name, where, raw)
    try:
        config = OpenStackConfig(
            session_constructor=cast(Any, open_session), app_name="nodepool", app_version=version("nodepool")
        )
        in_region: dict[str, Any] = {"region_name": region} if region else {}
        found = config.get_one(cloud=name, **in_region)
        entry = CloudEntry(found, name, where, _unquoted(raw), (*main.troubles, *secure.troubles))
        _check_auth(entry)
        _check_certificates(entry)
    except Misconfigured as error:
        raise Misconfigured("; ".join((str(error), *secure.troubles))) from error
    except Exception as error:  # for what it does not like openstacksdk raises whatever comes
        raise Misconfigured("; ".join((_explain(name, where, error, raw), *secure.troubles))) from error
    return entry


def stamp() -> Stamp:
    """The present stamp of all files that might be read; cheap. Take it before reading."""
    return tuple(_stamp(path) for path in (*_main_files(), *_secure_files()))


def _main_files() -> list[str]:
    return [*filter(None, (os.environ.get(_FILE),)), *loader.CONFIG_FILES]


def _secure_files() -> list[str]:
    return [*filter(None, (os.environ.get(_SECURE_FILE),)), *loader.SECURE_FILES]


def _stamp(path: str) -> tuple[int, int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def _first(paths: Sequence[str]) -> _File:
    """The file that openstacksdk takes: the first that it can read."""
    troubles: list[str] = []
    for path in dict.fromkeys(paths):
        try:
            with open(path, encoding="utf-8") as file:
                return _File(path, yaml.safe_load(file), tuple(troubles))
        except FileNotFoundError:
            continue
        except OSError as error:
            troubles.append(f"{path} cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            troubles.append(f"{path} is not in UTF-8")
        except yaml.YAMLError as error:
            troubles.append(f"{path} is not YAML: {_yaml_problem(error)}")
    return _File(None, None, tuple(troubles))


def _yaml_problem(error: yaml.YAMLError) -> str:
    """What and where; never the text around it, which may be a password."""
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or "it cannot be understood"
    return f"line {mark.line + 1}, column {mark.column + 1}: {what}" if mark else str(what)


def _look_up(name: str, file: _File, secure: _File) -> Any:
    """The entry as it stands in the file."""
    broken = "; ".join(file.troubles)
    if name in _clouds(secure):
        return _clouds(file).get(name, {})
    if file.path is None:
        raise Misconfigured(f"cloud: '{name}' cannot be looked up: {broken or _no_file()}")
    clouds = _clouds(file)
    if name not in clouds:
        what = f"{file.path} has no cloud '{name}'; {there_are(name, map(str, clouds))}"
        raise Misconfigured(f"cloud: {what}{broken and '; '}{broken}")
    return clouds[name]


def _clouds(file: _File) -> Mapping[Any, Any]:
    if file.content is None:
        return {}
    clouds = file.content.get("clouds", {}) if isinstance(file.content, Mapping) else None
    if clouds is None or not isinstance(clouds, Mapping):
        raise Misconfigured(f"cloud: {file.path} has no mapping 'clouds' at the top")
    return clouds


def _no_file() -> str:
    folders = ", ".join(dict.fromkeys(os.path.dirname(path) for path in loader.CONFIG_FILES))
    named = os.environ.get(_FILE)
    also = f"{_FILE} names {named}, which is not there" if named else f"{_FILE} is not set"
    return f"there is no clouds.yaml in {folders}, and {also}"


def _check_shape(name: str, where: str, entry: Any) -> None:
    if not isinstance(entry, Mapping):
        raise Misconfigured(f"cloud '{name}' of {where}: expected a mapping with 'auth' and more")
    auth = entry.get("auth", {})
    if not isinstance(auth, Mapping):
        raise Misconfigured(f"cloud '{name}' of {where}: auth: expected a mapping with 'auth_url' and more")


def _check_auth(entry: CloudEntry) -> None:
    auth, kind = entry.config.config["auth"], entry.config.config.get("auth_type")
    for problem in _auth_problems(auth, kind):
        raise Misconfigured(f"cloud '{entry.name}' of {entry.source}: {problem}")


def _auth_problems(auth: Mapping[str, Any], kind: Any) -> Iterator[str]:
    if kind in ("password", "v3password", "v2password"):
        if not auth.get("username") and not auth.get("user_id"):
            yield "auth.username is missing"
        if not auth.get("password"):
            yield "auth.password is missing"
    url = auth.get("auth_url")
    if url is not None and not _is_address(str(url)):
        yield f"auth.auth_url: '{shown_url(str(url))}' is no address such as https://cloud.example.org:5000/v3"


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _check_certificates(entry: CloudEntry) -> None:
    if not entry.auth_url.startswith("https"):
        return
    verify, pair = entry.config.get_requests_verify_args()
    certificate, key = pair if isinstance(pair, tuple) else (pair, None)
    named = {"cacert": verify if isinstance(verify, str) else None, "cert": certificate, "key": key}
    for name, path in named.items():
        if path is not None and not os.path.exists(path):
            raise Misconfigured(f"cloud '{entry.name}' of {entry.source}: {name}: there is no file {path}")


def _explain(name: str, where: str, error: Exception, entry: Any) -> str:
    """What openstacksdk did not like, by its exception."""
    region = _UNKNOWN_REGION.search(str(error))
    if region is not None:
        known = there_are(region["wanted"], region["known"].split(","))
        return f"region-name: cloud '{name}' of {where} has no region '{region['wanted']}'; {known}"
    return f"cloud '{name}' of {where}: {_explain_entry(error, entry)}"


def _explain_entry(error: Exception, entry: Any) -> str:
    if isinstance(error, keystone.MissingRequiredOptions):
        return ", ".join(f"auth.{option.dest}" for option in error.options) + " is missing"
    if isinstance(error, keystone.NoMatchingPlugin):
        known = (plugin.name for plugin in entry_points(group="keystoneauth1.plugin"))
        return f"auth_type: there is no '{error.name}'{did_you_mean(str(error.name), known)}"
    unknown = _UNKNOWN_KEY.search(str(error)) if isinstance(error, TypeError) else None
    if unknown is not None:
        return f"auth.{unknown[1]}: there is no such key{did_you_mean(unknown[1], _auth_keys(entry))}"
    text = hide(one_line(str(error) or type(error).__name__), _secrets(entry))
    return f"openstacksdk cannot use it: {text}"


def _secrets(entry: Any) -> tuple[str, ...]:
    auth = entry.get("auth") if isinstance(entry, Mapping) else None
    if not isinstance(auth, Mapping):
        return ()
    return tuple(str(value) for key, value in auth.items() if _SECRET.search(str(key)) and value)


def _unquoted(entry: Any) -> tuple[str, ...]:
    auth = entry.get("auth", {}) if isinstance(entry, Mapping) else {}
    return tuple(str(key) for key, value in auth.items() if isinstance(value, bool | int | float))


def _auth_keys(entry: Any) -> list[str]:
    kind = (entry.get("auth_type") if isinstance(entry, Mapping) else None) or "password"
    try:
        return [str(option.dest) for option in loading.get_plugin_loader(kind).get_options()]
    except keystone.NoMatchingPlugin:
        return []


class _NotSaidTwice(logging.Filter):
    """Keeps openstacksdk from telling at each reading what our own messages tell once."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.msg.startswith("Skipping config file")


logging.getLogger("openstack.config").addFilter(_NotSaidTwice())
