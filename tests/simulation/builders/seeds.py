"""Runs many seeds in several processes."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tests.simulation.builders.mutations import Mutation, applied
from tests.simulation.builders.world import Report, run


@contextmanager
def run_many(seeds: Iterable[int], mutation: Mutation, jobs: int) -> Iterator[Iterable[Report]]:
    """Reports as they come; leaving the context ends what still runs."""
    with multiprocessing.get_context("spawn").Pool(jobs, _prepare) as pool:
        yield pool.imap_unordered(_run_one, [(seed, mutation) for seed in seeds])


def _prepare() -> None:
    logging.disable(logging.CRITICAL)


def _run_one(task: tuple[int, Mutation]) -> Report:
    seed, mutation = task
    with applied(mutation) as tampering:
        return run(seed, tampering=tampering)
