"""Seeds hold, and the simulation finds out when a safety is missing.

``NODEPOOL_SIMULATION_SEEDS`` says how many seeds are run. Each run is a process of its own, because the seed of
Python's hashes is part of what makes a run repeatable.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.mutations import Mutation

ROOT = Path(__file__).resolve().parents[2]
SEEDS = os.environ.get("NODEPOOL_SIMULATION_SEEDS", "150")
SEEDS_OF_A_MUTATION = "300"


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m tests.simulation``."""
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_seeds_hold() -> None:
    result = simulate("--seeds", SEEDS)
    assert result.returncode == 0, result.stdout[-10_000:] + result.stderr[-10_000:]


@pytest.mark.parametrize("mutation", [one.value for one in Mutation if one is not Mutation.NONE])
def test_a_safety_that_is_switched_off_is_missed(mutation: str) -> None:
    result = simulate("--seeds", SEEDS_OF_A_MUTATION, "--mutation", mutation)
    assert result.returncode == 0, result.stdout[-10_000:] + result.stderr[-10_000:]
    assert f"--mutation {mutation}" in result.stdout


def test_a_seed_repeats_itself() -> None:
    first, second = (simulate("--replay", "7").stdout.splitlines() for _ in range(2))
    assert first[:-1] == second[:-1]
    assert len(first) > 100
