"""``nodepool-builder``, which is not part of this release, says so."""

from __future__ import annotations

import pytest

from nodepool import __version__
from nodepool.cmd import builder


@pytest.mark.parametrize("arguments", [[], ["-f"], ["-d", "-c", "/etc/nodepool/nodepool.yaml", "--build-workers", "2"]])
def test_every_start_fails_with_a_message(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert builder.main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "not part of this release" in err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        builder.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"Nodepool version: {__version__}\n"


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        builder.main(["--help"])
    assert stop.value.code == 0
    assert "not part of this release" in " ".join(capsys.readouterr().out.split())
