"""What a daemon takes over from its configuration files while it runs, and when it tries again what failed."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

import pytest

from nodepool.config.files import ConfigurationFiles
from nodepool.config.settings import Config
from nodepool.daemon.configuration import PROVIDER_RETRY_INTERVAL, LiveConfiguration
from nodepool.daemon.events import Configured

TEXT = "zookeeper-servers: [{host: a}]\nlabels: [{name: one}]\n"


class Scene:
    """A configuration file, and providers that fail where the test says so. What a configuration means: its labels."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "nodepool.yaml"
        self.path.write_text(TEXT)
        self.now = 1000.0
        self.failed: Collection[str] = ()
        self.fails: Collection[str] = ()
        self.applied = 0
        self.hosts: list[str] = []
        self.told: list[tuple[str, ...]] = []
        files = ConfigurationFiles(str(self.path), None)
        self.live = LiveConfiguration(files, files.load(), self, self, self._publish, lambda: self.now)

    def apply(self, config: Config) -> tuple[str, ...]:
        """Start providers."""
        self.applied += 1
        self.failed = self.fails
        return (*config.labels, *(f"without {name}" for name in self.failed))

    def stop(self) -> None:
        """There is nothing to stop."""

    def set_hosts(self, hosts: str) -> None:
        """Note the servers."""
        self.hosts.append(hosts)

    def write(self, before: str, after: str) -> None:
        """Change the file, and have it looked at."""
        text = self.path.read_text()
        assert before in text
        self.path.write_text(text.replace(before, after))
        self.live.look()

    def _publish(self, event: Configured[tuple[str, ...]]) -> None:
        self.told.append(event.setup)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    scene = Scene(tmp_path)
    scene.live.use()
    return scene


def test_the_core_is_told_only_what_is_new(scene: Scene) -> None:
    assert scene.told == [("one",)]
    scene.live.look()
    assert scene.applied == 1
    scene.write("labels:", "max-hold-age: 9\nlabels:")
    assert (scene.applied, scene.told) == (2, [("one",)])
    scene.write("{name: one}", "{name: one}, {name: two}")
    assert scene.told == [("one",), ("one", "two")]


def test_servers_are_handed_on(scene: Scene) -> None:
    scene.write("{host: a}", "{host: a}, {host: b, port: 2182}")
    assert scene.hosts == ["a:2281,b:2182"]
    scene.write("{name: one}", "{name: two}")
    assert len(scene.hosts) == 1


def test_what_needs_a_restart_is_said(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        scene.write("labels:", "images-dir: /images\nlabels:")
    assert caplog.messages[-1] == "The change of images-dir takes effect after a restart"


def test_a_file_that_cannot_be_used_changes_nothing(scene: Scene) -> None:
    scene.write("{name: one}", "{nam: one}")
    assert (scene.applied, scene.told) == (1, [("one",)])


def test_a_provider_that_did_not_start_is_tried_again_after_a_while(scene: Scene) -> None:
    scene.fails = ("x",)
    scene.write("{name: one}", "{name: two}")
    assert scene.told[-1] == ("two", "without x")
    scene.live.look()
    assert scene.applied == 2
    scene.now += PROVIDER_RETRY_INTERVAL
    scene.live.look()
    assert (scene.applied, len(scene.told)) == (3, 2)
    scene.now += PROVIDER_RETRY_INTERVAL
    scene.fails = ()
    scene.live.look()
    assert scene.told[2:] == [("two",)]
    scene.now += PROVIDER_RETRY_INTERVAL
    scene.live.look()
    assert scene.applied == 4
