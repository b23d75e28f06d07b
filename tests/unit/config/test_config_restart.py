"""What a reload cannot change, and what counts as the same (spec config 13)."""

from __future__ import annotations

import pytest

from nodepool.config.restart import needs_restart
from nodepool.config.settings import Config
from tests.unit.config.reading import Files

BASE = """
zookeeper-servers: [{host: a}]
zookeeper-tls: {cert: c, key: k, ca: a}
labels: [{name: a}, {name: b}]
diskimages: [{name: i}]
providers:
  - {name: p, driver: toy, pools: [{name: m, labels: [{name: a}]}]}
  - {name: q, driver: toy}
"""


def reloaded(files: Files, before: str, after: str) -> tuple[Config, Config]:
    """The configuration before and after a change of its text."""
    assert before in BASE
    files.write(BASE)
    old = files.load()
    files.write(BASE.replace(before, after, 1))
    return old, files.load()


def test_a_text_that_says_the_same_changes_nothing(files: Files) -> None:
    text = "# a comment\nlabels: [{min-ready: 0, name: a}, {name: b}]"
    old, new = reloaded(files, "labels: [{name: a}, {name: b}]", text)
    assert old == new
    assert needs_restart(old, new) == ()


def test_a_provider_changes_with_its_own_entry_alone(files: Files) -> None:
    old, new = reloaded(files, "{name: m,", "{name: m, max-servers: 1,")
    assert [name for name in old.providers if old.providers[name] != new.providers[name]] == ["p"]


def test_the_environment_of_the_secure_file_changes_an_image(files: Files) -> None:
    files.write(BASE)
    old = files.load()
    files.write(BASE, "diskimages: [{name: i, env-vars: {A: b}}]\n")
    assert old.diskimages["i"] != files.load().diskimages["i"]


@pytest.mark.parametrize(
    ("before", "after", "restart"),
    [
        ("labels:", "webapp: {port: 1}\nlabels:", "webapp"),
        ("labels:", "images-dir: /i\nlabels:", "images-dir"),
        ("labels:", "zookeeper-timeout: 5\nlabels:", "zookeeper-timeout"),
        ("cert: c", "cert: d", "zookeeper-tls"),
        ("{host: a}", "{host: a, chroot: /x}", "zookeeper-servers (chroot)"),
    ],
)
def test_what_needs_a_restart(files: Files, before: str, after: str, restart: str) -> None:
    assert needs_restart(*reloaded(files, before, after)) == (restart,)


@pytest.mark.parametrize(
    "setting",
    [
        "max-hold-age: 5",
        "tenant-resource-limits: [{tenant-name: a}]",
        "elements-dir: /e",
        "images-min-free-space: 1",
        "images-max-space: 1",
        "build-log-dir: /l",
        "build-log-retention: 1",
    ],
)
def test_what_is_live(files: Files, setting: str) -> None:
    old, new = reloaded(files, "labels:", f"{setting}\nlabels:")
    assert old != new
    assert needs_restart(old, new) == ()


def test_servers_are_live(files: Files) -> None:
    assert needs_restart(*reloaded(files, "{host: a}", "{host: a}, {host: b}")) == ()
