"""Reasons: each has a sentence of its own, since logs, tables and pages show nothing else."""

from __future__ import annotations

from enum import Enum

import pytest

from nodepool.model.reasons import DeclineReason, DeleteReason, LaunchFailure, WaitReason


@pytest.mark.parametrize("reasons", [WaitReason, DeclineReason, DeleteReason])
def test_every_reason_is_a_sentence_of_its_own(reasons: type[Enum]) -> None:
    sentences = [reason.value for reason in reasons]
    assert all(" " in text and not text.endswith(".") and text == text.strip() for text in sentences)
    assert len(set(sentences)) == len(sentences)


def test_every_failure_of_a_launch_has_a_word_for_metrics_and_a_sentence() -> None:
    """The words are those of spec operation 7: dashboards know them."""
    assert all(failure.value.startswith("error.") for failure in LaunchFailure)
    sentences = [failure.sentence for failure in LaunchFailure]
    assert all(" " in text for text in sentences)
    assert len(set(sentences)) == len(sentences)
