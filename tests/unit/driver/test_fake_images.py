"""The fake cloud's images: one that is removed is gone at once, even if its remover is killed in the middle."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodepool.driver.errors import NotFound
from nodepool.driver.fake.images import ABOUT, CONTENT, GONE, FakeImages

DEADLINE = 60.0


@pytest.fixture
def rest(tmp_path: Path) -> Path:
    """What a killed remover has left."""
    rest = tmp_path / "prov" / f"{GONE}fake-1"
    rest.mkdir(parents=True)
    (rest / CONTENT).write_bytes(b"x")
    (rest / ABOUT).write_text("{}")
    return rest


def test_what_a_killed_remover_left_is_no_image_and_goes_with_the_next_look(tmp_path: Path, rest: Path) -> None:
    assert FakeImages("prov", tmp_path).find(DEADLINE) == ()
    assert not rest.exists()


def test_it_goes_too_when_the_same_image_is_removed_again(tmp_path: Path, rest: Path) -> None:
    with pytest.raises(NotFound):
        FakeImages("prov", tmp_path).delete("fake-1", DEADLINE)
    assert not rest.exists()
