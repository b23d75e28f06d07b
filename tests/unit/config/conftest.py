"""Fixtures of the configuration's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.config.reading import Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """An empty directory for configuration files."""
    return Files(tmp_path)
