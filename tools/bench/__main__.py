"""``python -m tools.bench [MEASURE ...]``: runs measurements and prints them with the machine's load."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial

from tools.bench import clouds, images, measures, web
from tools.bench.site import site

MEASURES = {**measures.MEASURES, **clouds.MEASURES, **images.MEASURES, **web.MEASURES}


def main(arguments: list[str]) -> int:
    """Run the named measurements, or all; 0 if they ran."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description="Benchmarks on a real ZooKeeper.")
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"one of: {', '.join(MEASURES)}; default: all")
    parser.add_argument("--no-fsync", action="store_true", help="ZooKeeper does not wait for the disk")
    parser.add_argument("--minutes", type=float, default=3.0, help="how long cloud-soak lasts (default: %(default)s)")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.measures) - MEASURES.keys())
    if unknown:
        parser.error(f"no such measure: {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    available = MEASURES | {"cloud-soak": partial(clouds.soak, minutes=options.minutes)}
    print(f"{os.cpu_count()} processors; ZooKeeper {'without' if options.no_fsync else 'with'} fsync")
    for name in options.measures or MEASURES:
        before = os.getloadavg()[0]
        with site(durable=not options.no_fsync) as place:
            for line in available[name](place):
                print(f"{name}: {line} [load {before:.1f} before, {os.getloadavg()[0]:.1f} after]", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
