"""The configuration files of a running launcher (spec config 1 and 13)."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from nodepool.config.files import PATIENCE, ConfigurationFiles
from nodepool.config.problem import ConfigurationError

SERVERS = "zookeeper-servers: [{host: 127.0.0.1}]\n"


@pytest.fixture
def main(tmp_path: Path) -> Path:
    path = tmp_path / "nodepool.yaml"
    path.write_text(SERVERS)
    return path


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Errors that were logged so far."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def test_nothing_is_read_again_that_has_not_changed(main: Path) -> None:
    files = ConfigurationFiles(str(main), None)
    assert files.load().max_hold_age == 0
    assert files.reload() is None


def test_a_change_is_taken_over_once(main: Path) -> None:
    files = ConfigurationFiles(str(main), None)
    files.load()
    main.write_text(SERVERS + "max-hold-age: 60\n")
    config = files.reload()
    assert config is not None
    assert config.max_hold_age == 60
    assert files.reload() is None


def test_a_change_of_the_secure_file(main: Path, tmp_path: Path) -> None:
    secure = tmp_path / "secure.yaml"
    secure.write_text("")
    files = ConfigurationFiles(str(main), str(secure))
    files.load()
    secure.write_text("zookeeper-servers: [{host: other}]\n")
    config = files.reload()
    assert config is not None
    assert config.zookeeper.servers[0][0] == "other"


@pytest.mark.parametrize("text", ["", "labels: [", "labels: {}\n" + SERVERS, "labels: []\n"])
def test_a_bad_change_is_explained_once(main: Path, caplog: pytest.LogCaptureFixture, text: str) -> None:
    files = ConfigurationFiles(str(main), None)
    files.load()
    main.write_text(text)
    assert files.reload() is None
    assert errors(caplog)[-1] == "The configuration was not taken over; the previous one stays in force"
    assert str(main) in errors(caplog)[0]
    count = len(errors(caplog))
    assert files.reload() is None
    assert len(errors(caplog)) == count
    main.write_text(SERVERS)
    assert files.reload() is not None


@pytest.mark.parametrize("which", ["main", "secure"])
def test_a_file_that_is_away(main: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, which: str) -> None:
    secure = tmp_path / "secure.yaml"
    secure.write_text("")
    files = ConfigurationFiles(str(main), str(secure))
    files.load()
    file = main if which == "main" else secure
    away = file.rename(tmp_path / "away")
    for _ in range(PATIENCE - 1):
        assert files.reload() is None
    assert errors(caplog) == []
    for _ in range(PATIENCE):
        assert files.reload() is None
    assert errors(caplog) == [f"{file} is not there, or may not be read; the previous configuration stays in force"]
    away.rename(file)
    file.write_text(SERVERS)
    assert files.reload() is not None


def test_a_file_that_becomes_readable_is_read_again(main: Path) -> None:
    """A change of permissions leaves the time of the last change of the content as it is."""
    files = ConfigurationFiles(str(main), None)
    files.load()
    main.chmod(0o640)
    assert files.reload() is not None


def test_a_link_that_points_to_nothing(main: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to(main)
    files = ConfigurationFiles(str(link), None)
    files.load()
    away = main.rename(tmp_path / "away")
    assert files.reload() is None
    away.rename(main)
    files.reload()
    assert errors(caplog) == []


def test_the_first_load_fails_with_all_problems(main: Path) -> None:
    main.write_text("max-hold-age: soon\nlabels: 3\n")
    with pytest.raises(ConfigurationError) as failure:
        ConfigurationFiles(str(main), None).load()
    assert len(failure.value.problems) == 2


def test_warnings_are_logged_as_such(main: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = ConfigurationFiles(str(main), None)
    files.load()
    main.write_text("zookeeper-servers: [{host: zk.example.org}]\n")
    assert files.reload() is not None
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "neither encrypted nor authenticated" in warning.getMessage()
    assert errors(caplog) == []
