"""The manual names every key of every schema, and no key that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.reference import Section, keys_in_tables, keys_named, sections

DOC = Path(__file__).resolve().parents[2] / "doc"
ALSO = {"openstack": ("configuration", "checks"), "local": ("configuration", "checks", "openstack")}
"""Chapters that explain what several drivers have."""
SECTIONS = sections()


def page(name: str) -> str:
    return (DOC / f"{name}.rst").read_text(encoding="utf-8")


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.title)
def test_every_key_is_explained(section: Section) -> None:
    text = "\n".join(page(name) for name in (section.page, *ALSO.get(section.page, ())))
    missing = {key.path for key in section.keys if key.name not in keys_named(text)}
    assert missing - {"tenant-resource-limits[].NAME"} == set()


@pytest.mark.parametrize("name", sorted({section.page for section in SECTIONS} | {"checks"}))
def test_no_key_is_explained_that_there_is_not(name: str) -> None:
    known = {key.name for section in SECTIONS for key in section.keys}
    found = keys_in_tables(page(name))
    assert found
    assert found <= known


def test_what_a_key_takes_is_said_by_its_rule() -> None:
    values = {key.path: (key.value, key.required) for section in SECTIONS for key in section.keys}
    assert values["labels[].min-ready"] == ("a whole number of nodes, -1 or more", False)
    assert values["zookeeper-servers[].host"] == ("text", True)
    assert values["diskimages[].env-vars"] == ("a mapping; each value text", True)
    assert values["kind"] == ("one of qemu, container", False)
    assert values["pools[].nodes[].labels"] == ("text or a list of texts", True)
    assert values["pools[].labels[].keep-failed"][0] == "a mapping with 'count' and 'seconds', or false"
    assert values["fake.faults.delete-lost"] == ("a probability, from 0 to 1", False)


def test_tables_and_names_are_found() -> None:
    text = (
        ".. list-table::\n\n   * - Key\n     - Meaning\n   * - ``a.b``, ``c-d``\n     - See ``e``.\n"
        ".. list-table::\n\n   * - Other\n   * - ``f``\n"
    )
    assert keys_in_tables(text) == {"b", "c-d"}
    assert keys_named(text) == {"b", "c-d", "e", "f"}
