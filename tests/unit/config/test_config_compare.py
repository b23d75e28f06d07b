"""What a reload changes (spec config 13)."""

from __future__ import annotations

import pytest

from nodepool.config.compare import Difference, compare
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


def difference(files: Files, *changes: tuple[str, str]) -> Difference:
    files.write(BASE)
    old = files.load()
    text = BASE
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    files.write(text)
    return compare(old, files.load())


def test_nothing_changed(files: Files) -> None:
    same = difference(
        files, ("labels:", "# a comment\nlabels:"), ("{name: a}, {name: b}", "{min-ready: 0, name: a}, {name: b}")
    )
    assert not same
    assert same.providers_unchanged == {"p", "q"}


def test_providers(files: Files) -> None:
    changed = difference(files, ("{name: m,", "{name: m, max-servers: 1,"), ("name: q", "name: r"))
    assert changed
    assert changed.providers_added == {"r"}
    assert changed.providers_removed == {"q"}
    assert changed.providers_changed == {"p"}
    assert not changed.providers_unchanged


def test_labels_and_images(files: Files) -> None:
    changed = difference(
        files,
        ("{name: b}", "{name: c}"),
        ("[{name: a}, {", "[{name: a, min-ready: 1}, {"),
        ("{name: i}", "{name: i, pause: true}"),
    )
    assert changed.labels == {"a", "b", "c"}
    assert changed.diskimages == {"i"}
    assert changed.providers_unchanged == {"p", "q"}
    assert (changed.live, changed.restart) == ((), ())


def test_the_environment_of_the_secure_file_changes_an_image(files: Files) -> None:
    files.write(BASE)
    old = files.load()
    files.write(BASE, "diskimages: [{name: i, env-vars: {A: b}}]\n")
    assert compare(old, files.load()).diskimages == {"i"}


def test_servers_are_live(files: Files) -> None:
    changed = difference(files, ("{host: a}", "{host: a}, {host: b}"))
    assert changed.zookeeper_servers
    assert changed.restart == ()


@pytest.mark.parametrize(
    ("before", "after", "restart"),
    [
        ("labels:", "webapp: {port: 1}\nlabels:", "webapp"),
        ("labels:", "zookeeper-timeout: 5\nlabels:", "zookeeper-timeout"),
        ("cert: c", "cert: d", "zookeeper-tls"),
        ("{host: a}", "{host: a, chroot: /x}", "zookeeper-servers (chroot)"),
    ],
)
def test_what_needs_a_restart(files: Files, before: str, after: str, restart: str) -> None:
    changed = difference(files, (before, after))
    assert changed.restart == (restart,)
    assert not changed.zookeeper_servers


@pytest.mark.parametrize(
    "setting",
    [
        "max-hold-age: 5",
        "tenant-resource-limits: [{tenant-name: a}]",
        "elements-dir: /e",
        "images-dir: /i",
        "images-min-free-space: 1",
        "build-log-dir: /l",
        "build-log-retention: 1",
    ],
)
def test_what_is_live(files: Files, setting: str) -> None:
    changed = difference(files, ("labels:", f"{setting}\nlabels:"))
    assert changed.live == (setting.partition(":")[0],)
    assert changed.restart == ()
