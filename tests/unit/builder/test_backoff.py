"""Pauses after failures, and how they are remembered."""

from __future__ import annotations

import pytest

from nodepool.builder import backoff
from nodepool.builder.backoff import BUILDS, REMOVALS, UPLOADS, BackOff, Pauses
from nodepool.model.image import ImageBuild
from nodepool.model.states import BuildState


@pytest.mark.parametrize("pauses", [BUILDS, UPLOADS, REMOVALS])
def test_a_pause_is_doubled_up_to_the_longest(pauses: Pauses) -> None:
    assert pauses.after(1) == pauses.shortest
    assert pauses.after(2) == 2 * pauses.shortest
    assert pauses.after(10_000) == pauses.longest


def test_a_failed_record_tells_when_to_try_again() -> None:
    told = BackOff(3, 1234.5, "the disk is full")
    record = ImageBuild(image="i", id="b", state=BuildState.FAILED, extra=backoff.write({"other": 1}, told))
    read = ImageBuild.from_json(record.to_json(), image="i", id="b")
    assert backoff.read(read) == told
    assert read.extra["other"] == 1


@pytest.mark.parametrize("extra", [{}, {"failures": "many", "retry_at": None}, {"failures": True, "error": None}])
def test_records_of_other_programs_tell_nothing(extra: dict[str, object]) -> None:
    assert backoff.read(ImageBuild(image="i", id="b", extra=extra)) == BackOff()
    assert backoff.read(None) == BackOff()
