"""The full runs, which take long: ``python -m tests.endurance launches``, ``… launchers``, ``… kills``, ``… outage``.

``launches``: one launcher and 10,000 launches, with 5 % faults of each kind. ``launchers``: the same for two launchers
that share the cloud. ``kills``: the same, with one of the two killed every 15 seconds. ``outage``: one of two regions
is away for ten minutes, first mute, then answering 503.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.endurance.crowd import Habits
from tests.endurance.report import Report
from tests.endurance.run import Outage, launch_many, outlast
from tests.endurance.site import CloudPlan, site
from tests.endurance.trouble import call_rules, identity_rules, server_rules

LAUNCH_TIMEOUT = 15.0
KILL_EVERY = 15.0


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if nothing is to complain of, 1 otherwise."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.endurance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", choices=("launches", "launchers", "kills", "outage"))
    parser.add_argument("--launches", type=int, default=10_000, help="how many (%(default)s)")
    parser.add_argument("--chance", type=float, default=0.05, help="of each kind of fault (%(default)s)")
    parser.add_argument("--quota", type=int, default=250, help="servers at once (%(default)s)")
    parser.add_argument("--outage", type=float, default=600.0, help="seconds (%(default)g)")
    parser.add_argument("--lag", type=float, default=0.0, help="seconds by which lists are late (%(default)g)")
    parser.add_argument("--seed", type=int, default=1, help="of all chance (%(default)s)")
    parser.add_argument("--patience", type=float, default=900.0, help="seconds for a request (%(default)g)")
    parser.add_argument("--end", type=float, default=420.0, help="seconds until all must be gone (%(default)g)")
    parser.add_argument("--hasty", action="store_true", help="search for leaks every few seconds, not every minute")
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY", help="for logs and journal; must not exist")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="nodepool-endurance-") as temporary:
        directory = options.keep or Path(temporary)
        reports = _outages(options, directory) if options.run == "outage" else _launches(options, directory)
        bad = False
        for report in reports:
            print("\n".join(report.lines()), flush=True)
            bad |= bool(report.complaints)
    return int(bad)


def faulty(
    name: str,
    quota: int,
    chance: float,
    *,
    hanging: int = 0,
    list_lag: float = 0.0,
    launch_timeout: float = LAUNCH_TIMEOUT,
) -> CloudPlan:
    """A cloud with each kind of fault."""
    return CloudPlan(
        name,
        quota=quota,
        list_lag=list_lag,
        launch_timeout=launch_timeout,
        calls=call_rules(chance, hanging=hanging),
        servers=server_rules(chance, boot_limit=launch_timeout),
        identity=identity_rules(chance),
    )


def _launches(options: argparse.Namespace, directory: Path) -> Iterator[Report]:
    habits = Habits(patience=options.patience)
    count = 1 if options.run == "launches" else 2
    plans = [faulty("east", options.quota, options.chance, hanging=10, list_lag=options.lag)]
    kill_every = KILL_EVERY if options.run == "kills" else 0.0
    with site(directory / "site", plans, launchers=count, hasty=options.hasty, seed=options.seed) as place:
        yield launch_many(
            place, plans, options.launches, habits, seed=options.seed, end_limit=options.end, kill_every=kill_every
        )


def _outages(options: argparse.Namespace, directory: Path) -> Iterator[Report]:
    plans = [CloudPlan(name, quota=options.quota) for name in ("east", "west")]
    habits = Habits(patience=options.outage + options.patience)
    for outage in Outage:
        print(f"outage of west: {outage.value}", flush=True)
        with site(directory / outage.name.lower(), plans, hasty=options.hasty, seed=options.seed) as place:
            yield outlast(
                place, plans, outage, options.outage, habits, rate=5.0, seed=options.seed, end_limit=options.end
            )


if __name__ == "__main__":
    sys.exit(main())
