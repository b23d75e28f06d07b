"""Every key of ``nodepool.yaml``, read out of the schemas: what the manual's reference is made of.

The accepted values are the words with which the rules themselves refuse another one, so they cannot differ. What a key
means stands in hand-written chapters; which keys those name is found here as well, for the test that compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import voluptuous as v

from nodepool.config.rules import path_element
from nodepool.config.schema import MAIN, SECURE
from nodepool.driver.contract import ConfigPool, ProviderConfig
from nodepool.driver.registry import get_driver
from nodepool.driver.schema import pool_name

DRIVERS = ("openstack", "local", "static", "fake")
PAGES = {"openstack": "openstack", "local": "local", "static": "drivers", "fake": "drivers"}
"""The chapter that explains the keys of a driver."""
_PROBE = object()
"""A value that no rule accepts."""
_FREE = "NAME"
"""Stands for a key that the operator chooses."""
_HEAD = re.compile(r"^   \* - Key( of .+)?$", re.MULTILINE)
_ENTRY = re.compile(r"^   \* - (.+)$", re.MULTILINE)
_LITERAL = re.compile(r"``([^`]+)``")


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its path, such as ``pools[].labels[].min-ram``, what it takes, and whether it must be there."""

    path: str
    value: str
    required: bool

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2].removesuffix("[]")


@dataclass(frozen=True, slots=True)
class Section:
    """Keys that belong together; ``page`` is the chapter of the manual that explains them."""

    title: str
    page: str
    keys: tuple[Key, ...]


def sections() -> list[Section]:
    """All keys of Nodepool and of its own drivers."""
    common = {key: rule for key, rule in ProviderConfig.getCommonSchemaDict().items() if str(key) != "name"}
    common = {v.Required("name"): path_element, **common}
    pool = {v.Required("pools"): [{v.Required("name"): pool_name, **ConfigPool.getCommonSchemaDict()}]}
    found = [
        Section("Top level", "configuration", tuple(_keys(MAIN))),
        Section("Every provider, below providers[]", "configuration", tuple(_keys({**common, **pool}))),
        Section("The secure file", "configuration", tuple(_keys(SECURE.schema))),
    ]
    everybody = {key.path for key in found[1].keys}
    for driver in DRIVERS:
        schema = get_driver(driver).getProviderConfig({}).getSchema()
        # A configuration for OpenStack is one for the fake driver, too.
        known = everybody | {key.path for key in found[3].keys} if driver == "fake" else everybody
        own = tuple(key for key in _keys(_plain(schema)) if key.path not in known)
        found.append(Section(f"Driver {driver}, below providers[]", PAGES[driver], own))
    return found


def keys_named(page: str) -> set[str]:
    """Names in a page (reStructuredText) that may be keys: all that is literal."""
    return {name.rpartition(".")[2] for name in _LITERAL.findall(page)}


def keys_in_tables(page: str) -> set[str]:
    """Names of keys in the first columns of the tables of a page that are headed by the word Key."""
    tables = (table for table in page.split(".. list-table::")[1:] if _HEAD.search(table))
    return {name for table in tables for entry in _ENTRY.findall(table) for name in keys_named(entry)}


def _keys(schema: Any, above: str = "") -> Iterator[Key]:
    for key, rule in schema.items():
        name = _FREE if callable(key) and not isinstance(key, v.Marker) else str(key)
        path = f"{above}{name}"
        parts = [_plain(part) for part in (rule.validators if isinstance(rule, v.Any) else [rule])]
        # A rule with several forms names all of them where it refuses what is none.
        yield Key(path, _value(parts[0]), isinstance(key, v.Required))
        for part in parts:
            if isinstance(part, list) and isinstance(_plain(part[0]), dict):
                yield from _keys(_plain(part[0]), f"{path}[].")
            elif isinstance(part, dict) and _is_worth_telling(part):
                yield from _keys(part, f"{path}.")


def _plain(rule: Any) -> Any:
    return rule.schema if isinstance(rule, v.Schema) else rule


def _is_worth_telling(mapping: dict[Any, Any]) -> bool:
    return any(isinstance(key, str | v.Marker) for key in mapping)


def _value(rule: Any) -> str:
    """What a rule takes, in its own words."""
    if isinstance(rule, dict):
        return "a mapping" if _is_worth_telling(rule) else f"a mapping; each value {_value(*rule.values())}"
    if isinstance(rule, list):
        item = _value(_plain(rule[0]))
        return "a list of mappings" if item.startswith("a mapping") else f"a list; each entry {item}"
    if rule is object:
        return "anything"
    try:
        v.Schema(rule)(_PROBE)
    except v.Invalid as refusal:
        error = refusal.errors[0] if isinstance(refusal, v.MultipleInvalid) else refusal
        return str(error.msg).removeprefix("expected ")
    raise AssertionError(f"{rule} accepts everything")
