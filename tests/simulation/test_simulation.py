"""Runs the usual seeds, and sees that they would find a launcher whose safeties are off.

``NODEPOOL_SIMULATION_SEEDS`` is the number of seeds; ``python -m tests.simulation`` runs more of them and replays one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.mutations import Mutation

SEEDS = int(os.environ.get("NODEPOOL_SIMULATION_SEEDS", "300"))
ROOT = Path(__file__).resolve().parents[2]


def simulate(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.simulation", "--jobs", "2", *options]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_no_seed_violates_an_invariant() -> None:
    done = simulate("--seeds", str(SEEDS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{SEEDS} seeds" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("mutation", [one for one in Mutation if one is not Mutation.NONE])
def test_a_launcher_without_a_safety_is_found_out(mutation: Mutation) -> None:
    done = simulate("--seeds", "300", "--mutation", mutation.value)
    assert done.returncode == 0, f"no violation was found:\n{done.stdout}{done.stderr}"
    assert "replay" in done.stdout
