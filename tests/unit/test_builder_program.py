"""``nodepool-builder`` says what is wrong before it leaves the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodepool import __version__
from nodepool.builder.files import ImageFiles
from nodepool.cmd import builder
from nodepool.config.files import ConfigurationFiles
from nodepool.config.problem import Severity
from nodepool.config.startup import check_startup

CONFIGURATION = "zookeeper-servers: [{host: 127.0.0.1}]\nlabels: []\nproviders: []\n"


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the program says when it does not start."""
    assert builder.main(["-f", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        builder.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"Nodepool version: {__version__}\n"


def test_help_tells_the_workers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        builder.main(["--help"])
    text = capsys.readouterr().out
    assert "--build-workers N" in text
    assert "--upload-workers N" in text


@pytest.mark.parametrize("number", ["-1", "two", "1.5"])
def test_a_number_of_workers_must_be_one(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        builder.main(["--build-workers", number])
    assert stop.value.code == 2
    assert "--build-workers" in capsys.readouterr().err


def test_an_images_directory_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "nodepool.yaml"
    file.write_text(CONFIGURATION)
    assert "images-dir" in refusal(capsys, "-c", str(file))


@pytest.mark.parametrize("place", ["file", "/proc/none"])
def test_an_images_directory_must_be_one(tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    file = tmp_path / "nodepool.yaml"
    file.write_text(f"{CONFIGURATION}images-dir: {tmp_path / place}\n")
    said = refusal(capsys, "-c", str(file))
    assert said.startswith(f"nodepool-builder: images-dir: {tmp_path / place}")
    assert "cannot be used" in said


def test_a_directory_of_elements_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = tmp_path / "nodepool.yaml"
    file.write_text(f"{CONFIGURATION}images-dir: {tmp_path}\nelements-dir: {tmp_path}:{tmp_path / 'none'}\n")
    config = ConfigurationFiles(str(file), None).load()
    (problem,) = check_startup(config, str(file), builder=True)
    assert (problem.path, problem.severity) == ("elements-dir", Severity.WARNING)
    assert str(tmp_path / "none") in problem.message
    assert check_startup(config, str(file)) == []


def test_an_images_directory_has_one_builder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "nodepool.yaml"
    file.write_text(f"{CONFIGURATION}images-dir: {tmp_path}\n")
    other = ImageFiles(tmp_path)
    other.claim()
    try:
        assert "another builder works in" in refusal(capsys, "-c", str(file))
    finally:
        other.release()
