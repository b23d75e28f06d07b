"""``nodepool-builder`` says what is wrong before it leaves the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodepool import __version__
from nodepool.builder.files import ImageFiles
from nodepool.cmd import builder

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


def test_an_images_directory_has_one_builder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "nodepool.yaml"
    file.write_text(f"{CONFIGURATION}images-dir: {tmp_path}\n")
    other = ImageFiles(tmp_path)
    other.claim()
    try:
        assert "another builder works in" in refusal(capsys, "-c", str(file))
    finally:
        other.release()
