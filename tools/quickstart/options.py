"""The options of ``tools/quickstart.sh``. Needs nothing but Python."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_DIRECTORY = ROOT / ".nodepool-quickstart"
DEFAULT_KIND = "qemu"
FORMATS = {"qemu": ("qcow2", "raw"), "container": ("tar",), "static": ()}
"""The kinds, and the formats of images that their machines are made of; the first one is built."""


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options. Exits with status 2 and the usage on wrong ones."""
    parser = argparse.ArgumentParser(
        prog="tools/quickstart.sh",
        description="Set up all of Nodepool on this machine, on loopback addresses only: ZooKeeper, nodepool-builder,"
        " which builds an image, and nodepool-launcher, which makes machines of it. Show a node from the request to its"
        " end. Everything goes on running; a second run uses what runs.",
        allow_abbrev=False,
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--once", action="store_true", help="end everything when the job is done")
    action.add_argument("--status", action="store_true", help="say what runs; exit code 0 if everything does")
    action.add_argument("--stop", action="store_true", help="end everything; the data stay")
    action.add_argument("--clean", action="store_true", help="end everything and remove the directory")
    parser.add_argument(
        "--kind",
        choices=FORMATS,
        help="what the nodes are: virtual machines; containers, where those are too slow; or this host itself, without"
        f" an image and without root (that of the last run, else {DEFAULT_KIND})",
    )
    parser.add_argument(
        "--image",
        type=_path,
        metavar="FILE",
        help="use this image (.qcow2 or .raw; .tar for containers) instead of building one, which needs root; its"
        " kernel is looked for beside it, in the directory of the same name that ends in .d (that of the last run)",
    )
    parser.add_argument("--dir", type=_path, default=DEFAULT_DIRECTORY, help=f"where all is kept ({DEFAULT_DIRECTORY})")
    parser.add_argument("--zookeeper-port", type=_port, metavar="PORT", help="TCP port of ZooKeeper")
    parser.add_argument("--ssh-port", type=_port, metavar="PORT", help="TCP port of the nodes' SSH servers")
    parser.add_argument(
        "--cache", type=_path, metavar="DIR", help="where builds keep what they have fetched (DIR/cache)"
    )
    options = parser.parse_args(arguments)
    if options.image and options.kind == "static":
        parser.error("argument --image: the kind static needs no image")
    return options


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"expected a TCP port, not {text!r}")
    return int(text)


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("expected a path, not nothing")
    return Path(os.path.abspath(os.path.expanduser(text)))
