"""``nodepool-builder``: says that this release has no builder yet.

The program exists so that unit files and scripts written for Nodepool 11 get a plain answer. It must never look as if
it built something: whatever it is asked to do, it fails.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from nodepool import __version__

MESSAGE = (
    "nodepool-builder: the image builder is not part of this release. "
    "Keep the builders of Nodepool 11 running: they share ZooKeeper with this launcher."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 after the message; ``--help`` and ``--version`` end with status 0. Other options are not looked at."""
    parser = argparse.ArgumentParser(prog="nodepool-builder", description=MESSAGE)
    parser.add_argument("--version", action="version", version=f"Nodepool version: {__version__}")
    parser.parse_known_args(arguments)
    print(MESSAGE, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
