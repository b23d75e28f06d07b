"""Runs many seeds, or some with a log.

``python -m tests.simulation launchers --seeds 10000``, ``python -m tests.simulation builders --replay 4711``.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from tests.simulation.seeds import SIMULATIONS, Report, Run, live, live_many, silence


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if no seed violates anything (with a mutation: if one does), 1 otherwise."""
    options = _parse(arguments)
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets is part of what a seed decides.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *(arguments or sys.argv[1:])])
    silence()
    if options.replay:
        log = not options.quiet
        return _conclude((live(Run(options.site, seed, options.mutation, log)) for seed in options.replay), options)
    seeds = range(options.start, options.start + options.seeds)
    with live_many((Run(options.site, seed, options.mutation) for seed in seeds), options.jobs) as reports:
        return _conclude(reports, options)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("site", choices=SIMULATIONS, help="whose decisions are tried")
    parser.add_argument("--seeds", type=int, default=300, help="how many (%(default)s)")
    parser.add_argument("--start", type=int, default=0, help="first seed (%(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (%(default)s)")
    parser.add_argument("--replay", type=int, nargs="+", metavar="SEED", help="run these seeds and print what happens")
    parser.add_argument("--quiet", action="store_true", help="with --replay: print violations only")
    parser.add_argument("--mutation", metavar="NAME", help="switch a safety off; 'list' shows them")
    parser.add_argument("--all", action="store_true", help="with --mutation: do not end with the first violation")
    parser.add_argument("--counts", action="store_true", help="print what has happened how often")
    options = parser.parse_args(arguments)
    known = SIMULATIONS[options.site].mutations
    if options.mutation == "list":
        print("\n".join(f"{name:12} {mutation.missing}" for name, mutation in known.items()))
        parser.exit()
    if options.mutation is not None and options.mutation not in known:
        parser.error(f"there is no mutation {options.mutation} of {options.site}: choose from {', '.join(known)}")
    return options


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
            if options.mutation and not options.all:
                break
    if options.counts:
        for what, number in sorted(counts.items()):
            print(f"{number:8} {what}")
    print(f"{done} seeds in {time.monotonic() - began:.0f} s, {bad} with violations")
    return int(bool(bad) is not bool(options.mutation))


def _show(report: Report, options: argparse.Namespace) -> None:
    print(f"seed {report.seed}:")
    for violation in report.violations:
        print(f"  {violation}")
    mutation = f" --mutation {options.mutation}" if options.mutation else ""
    print(f"  replay: python -m tests.simulation {options.site} --replay {report.seed}{mutation}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
