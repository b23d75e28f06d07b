"""Seeds hold, and the simulations find out when a safety is missing.

``NODEPOOL_SIMULATION_SEEDS`` says how many seeds of each site are run; by default as many as are enough to miss each of
the safeties. Each run is a process of its own, because the seed of Python's hashes is part of what makes a run
repeatable.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.seeds import SIMULATIONS

ROOT = Path(__file__).resolve().parents[2]
ENOUGH = "150"
SEEDS = os.environ.get("NODEPOOL_SIMULATION_SEEDS", ENOUGH)
MUTATIONS = [(site, mutation) for site, simulation in SIMULATIONS.items() for mutation in simulation.mutations]


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m tests.simulation``."""
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("site", SIMULATIONS)
def test_seeds_hold(site: str) -> None:
    result = simulate(site, "--seeds", SEEDS)
    assert result.returncode == 0, result.stdout[-10_000:] + result.stderr[-10_000:]


@pytest.mark.parametrize(("site", "mutation"), MUTATIONS)
def test_a_safety_that_is_switched_off_is_missed(site: str, mutation: str) -> None:
    result = simulate(site, "--seeds", ENOUGH, "--mutation", mutation)
    assert result.returncode == 0, result.stdout[-10_000:] + result.stderr[-10_000:]
    assert f"--mutation {mutation}" in result.stdout


@pytest.mark.parametrize("site", SIMULATIONS)
def test_a_seed_repeats_itself(site: str) -> None:
    first, second = (simulate(site, "--replay", "7").stdout.splitlines() for _ in range(2))
    assert first[:-1] == second[:-1]
    assert len(first) > 100
