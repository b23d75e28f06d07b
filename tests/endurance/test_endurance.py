"""Endurance in small: what ``python -m tests.endurance`` does, for as long as a check of every change may take."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.endurance.__main__ import faulty
from tests.endurance.crowd import Habits
from tests.endurance.report import Report
from tests.endurance.run import Outage, launch_many, outlast
from tests.endurance.site import CloudPlan, site

pytestmark = pytest.mark.slow

END_LIMIT = 60.0
LAUNCH_TIMEOUT = 5.0
HABITS = Habits(patience=120.0)


def told(report: Report) -> Report:
    """Print the report, and fail if there is anything to complain of."""
    print("\n" + "\n".join(report.lines()))
    assert not report.complaints, "\n".join(report.complaints[:20])
    return report


def test_nothing_is_lost_left_or_doubled_on_a_faulty_cloud(tmp_path: Path) -> None:
    plans = [faulty("east", 100, 0.03, launch_timeout=LAUNCH_TIMEOUT)]
    with site(tmp_path, plans) as place:
        report = told(launch_many(place, plans, 150, HABITS, seed=1, end_limit=END_LIMIT))
    tally = report.tallies["east"]
    assert tally.served > 0.9 * (tally.asked - tally.cancelled)


def test_two_launchers_share_a_faulty_cloud_and_are_killed(tmp_path: Path) -> None:
    plans = [faulty("east", 50, 0.03, launch_timeout=LAUNCH_TIMEOUT)]
    with site(tmp_path, plans, launchers=2) as place:
        told(launch_many(place, plans, 60, HABITS, seed=2, end_limit=END_LIMIT, kill_every=6.0))


def test_a_region_that_is_away_delays_only_its_own_nodes(tmp_path: Path) -> None:
    plans = [CloudPlan("east"), CloudPlan("west")]
    with site(tmp_path, plans) as place:
        report = told(outlast(place, plans, Outage.MUTE, 8.0, HABITS, rate=5.0, seed=3, end_limit=END_LIMIT))
    assert all(tally.failed == 0 for tally in report.tallies.values())
