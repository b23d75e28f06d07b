"""Runs many seeds, or one with a log: ``python -m tests.simulation.builders --seeds 1000``, ``--replay 4711``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from tests.simulation.builders.mutations import Mutation, applied
from tests.simulation.builders.seeds import run_many
from tests.simulation.builders.world import Report, run


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if no seed violates anything (with a mutation: if one does), 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.builders", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many (%(default)s)")
    parser.add_argument("--start", type=int, default=0, help="first seed (%(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (%(default)s)")
    parser.add_argument("--replay", type=int, metavar="SEED", help="run this seed and print what happens")
    parser.add_argument(
        "--mutation", type=Mutation, default=Mutation.NONE, help=", ".join(one.value for one in Mutation)
    )
    parser.add_argument("--counts", action="store_true", help="print what has happened how often")
    options = parser.parse_args(arguments)
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets is part of what a seed decides.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation.builders", *(arguments or sys.argv[1:])])
    logging.disable(logging.CRITICAL)
    if options.replay is not None:
        with applied(options.mutation) as tampering:
            return _conclude([run(options.replay, log=True, tampering=tampering)], options)
    seeds = range(options.start, options.start + options.seeds)
    with run_many(seeds, options.mutation, options.jobs) as reports:
        return _conclude(reports, options)


def _conclude(reports: Iterable[Report], options: argparse.Namespace) -> int:
    began = time.monotonic()
    counts: Counter[str] = Counter()
    done = bad = 0
    for report in reports:
        done += 1
        counts.update(report.counts)
        if report.violations:
            bad += 1
            _show(report, options.mutation)
            if options.mutation is not Mutation.NONE:
                break
    if options.counts:
        for what, number in sorted(counts.items()):
            print(f"{number:8} {what}")
    print(f"{done} seeds in {time.monotonic() - began:.0f} s, {bad} with violations")
    return int(bool(bad) is (options.mutation is Mutation.NONE))


def _show(report: Report, mutation: Mutation) -> None:
    print(f"seed {report.seed}:")
    for violation in report.violations:
        print(f"  {violation}")
    option = f" --mutation {mutation.value}" if mutation is not Mutation.NONE else ""
    print(f"  replay: python -m tests.simulation.builders --replay {report.seed}{option}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
