"""Runs many seeds, or one with a log: ``python -m tests.simulation --seeds 10000``, ``--replay 4711``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from tests.simulation.mutations import Mutation, applied
from tests.simulation.seeds import run_many
from tests.simulation.world import Report, run


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if no seed violates anything (with a mutation: if one does), 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many (%(default)s)")
    parser.add_argument("--start", type=int, default=0, help="first seed (%(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (%(default)s)")
    parser.add_argument("--replay", type=int, nargs="+", metavar="SEED", help="run these seeds and print what happens")
    parser.add_argument("--quiet", action="store_true", help="with --replay: print violations only")
    parser.add_argument(
        "--mutation", type=Mutation, default=Mutation.NONE, help=", ".join(one.value for one in Mutation)
    )
    parser.add_argument("--counts", action="store_true", help="print what has happened how often")
    options = parser.parse_args(arguments)
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets is part of what a seed decides.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *(arguments or sys.argv[1:])])
    logging.disable(logging.CRITICAL)
    if options.replay:
        with applied(options.mutation) as tampering:
            return _conclude((run(seed, tampering, log=not options.quiet) for seed in options.replay), options)
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
            _show(report, options)
            if options.mutation is not Mutation.NONE:
                break
    if options.counts:
        for what, number in sorted(counts.items()):
            print(f"{number:8} {what}")
    print(f"{done} seeds in {time.monotonic() - began:.0f} s, {bad} with violations")
    return int(bool(bad) is (options.mutation is Mutation.NONE))


def _show(report: Report, options: argparse.Namespace) -> None:
    print(f"seed {report.seed}:")
    for violation in report.violations:
        print(f"  {violation}")
    mutation = f" --mutation {options.mutation.value}" if options.mutation is not Mutation.NONE else ""
    print(f"  replay: python -m tests.simulation --replay {report.seed}{mutation}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
