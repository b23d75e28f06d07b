"""Lives through seeds: one, or many in several processes."""

from __future__ import annotations

import logging
import multiprocessing
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tests.simulation.builders import mutations as of_builders
from tests.simulation.builders.world import BuilderWorld
from tests.simulation.launchers import mutations as of_launchers
from tests.simulation.launchers.world import LauncherWorld
from tests.simulation.mutations import NO_MUTATION, Mutation
from tests.simulation.world import World


@dataclass(frozen=True, slots=True)
class Simulation:
    """A kind of site."""

    world: Callable[[int, Mutation, bool], World]
    """Makes the world of a seed, with a mutation, and with or without a log."""
    mutations: Mapping[str, Mutation]


SIMULATIONS = {
    "launchers": Simulation(LauncherWorld, of_launchers.MUTATIONS),
    "builders": Simulation(BuilderWorld, of_builders.MUTATIONS),
}


@dataclass(frozen=True, slots=True)
class Run:
    """What is to be lived through. ``mutation`` is the name of one, None for none."""

    simulation: str
    seed: int
    mutation: str | None = None
    log: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a run."""

    seed: int
    violations: list[str]
    counts: Counter[str]


def live(run: Run) -> Report:
    """Live through a seed."""
    simulation = SIMULATIONS[run.simulation]
    mutation = simulation.mutations[run.mutation] if run.mutation else NO_MUTATION
    with mutation.patch():
        world = simulation.world(run.seed, mutation, run.log)
        try:
            world.live()
        except Exception:  # noqa: BLE001 - whatever is raised anywhere is a finding
            world.report(traceback.format_exc())
    return Report(run.seed, world.violations, world.counts)


@contextmanager
def live_many(runs: Iterable[Run], jobs: int) -> Iterator[Iterable[Report]]:
    """Reports as they come; leaving the context ends what still runs."""
    with multiprocessing.get_context("spawn").Pool(jobs, silence) as pool:
        yield pool.imap_unordered(live, runs)


def silence() -> None:
    """Let nobody write logs; what a run logs, it prints."""
    logging.disable(logging.CRITICAL)
