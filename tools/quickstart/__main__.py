"""The program behind ``tools/quickstart.sh``: its options, what runs, and how to end it."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from tools.quickstart.background import QuickstartError, program, shown
from tools.quickstart.site import KINDS, Site

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_DIRECTORY = ROOT / ".nodepool-quickstart"
DEFAULT_KIND = "qemu"
INTERRUPTED = 130


# What follows is imported where it is needed, because kazoo is not needed, and may not be installed, for the status.
if TYPE_CHECKING:
    from tools.quickstart.source import NodeSource


def source_of(site: Site, options: argparse.Namespace) -> NodeSource:
    """Where the nodes come from."""
    from tools.quickstart.machines import Machines
    from tools.quickstart.static_host import StaticHost

    kind = site.kind or DEFAULT_KIND
    if kind != "static":
        return Machines(site.directory, kind, options.cache)
    return StaticHost(site.directory, lambda running: site.choose_port("ssh", options.ssh_port, running=running))


def say_how_to_go_on(site: Site) -> None:
    """Print commands to try."""
    from tools.quickstart.source import LABEL

    nodepool = f"{shown(program('nodepool'))} -c {shown(site.configuration)}"
    own = "" if site.directory == DEFAULT_DIRECTORY else f" --dir {shown(site.directory)}"
    quickstart = f"{shown(ROOT / 'tools' / 'quickstart.sh')}{own}"
    print(
        f"\nEverything goes on running. Try:\n"
        f"    {nodepool} list --detail\n"
        f"    {nodepool} request {LABEL}\n"
        f"    {nodepool} request-list\n"
        f"    tail -f {shown(site.launcher.log)}\n"
        f"    {quickstart} --status    # or --stop, or --clean, which also removes {shown(site.directory)}"
    )


def run(site: Site, options: argparse.Namespace) -> None:
    """Show the job; then end everything, or say how to go on."""
    from tools.quickstart import job

    with site.opened():
        site.choose_kind(options.kind or site.kind or DEFAULT_KIND)
        source = source_of(site, options)
        try:
            job.run(site, source, options.zookeeper_port)
        finally:
            if options.once:
                print(f"\nEnded: {', '.join(job.stop(site, source))}")
    if not options.once:
        say_how_to_go_on(site)


def show_status(site: Site, options: argparse.Namespace) -> int:
    """Print one line per program; 0 if all run, else 1."""
    rows = site.status(source_of(site, options).programs) if site.exists else []
    for name, pid, where in rows:
        print(f"{name:<18} {'process ' + str(pid) if pid else 'does not run':<16} {where if pid else ''}".rstrip())
    if not rows:
        print(f"There is no quickstart in {site.directory}")
    return 0 if rows and all(pid for _, pid, _ in rows) else 1


def stop(site: Site, options: argparse.Namespace) -> None:
    """End everything, say what was ended, and with ``--clean`` remove the directory."""
    from tools.quickstart import job

    if not site.exists:
        print(f"There is no quickstart in {site.directory}")
        return
    with site.opened():
        source = source_of(site, options)
        ended = job.stop(site, source)
        print(f"Ended: {', '.join(ended)}" if ended else "Nothing was running")
        if options.clean:
            source.remove()
            site.remove()
            print(f"Removed {site.directory}")


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
        choices=KINDS,
        help="what the nodes are: virtual machines; containers, where those are too slow; or this host itself, without"
        f" an image and without root (that of the last run, else {DEFAULT_KIND})",
    )
    parser.add_argument(
        "--dir", type=_directory, default=DEFAULT_DIRECTORY, help=f"where all is kept ({DEFAULT_DIRECTORY})"
    )
    parser.add_argument("--zookeeper-port", type=_port, metavar="PORT", help="TCP port of ZooKeeper")
    parser.add_argument("--ssh-port", type=_port, metavar="PORT", help="TCP port of sshd (static)")
    parser.add_argument(
        "--cache", type=_directory, metavar="DIR", help="where builds keep what they have fetched (DIR/cache)"
    )
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"expected a TCP port, not {text!r}")
    return int(text)


def _directory(text: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(text)))


_interrupted = threading.Event()


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    _interrupted.set()
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    """Exit code: 0 done, 1 failed, 2 wrong options, 130 interrupted."""
    options = parse(arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _on_signal)
    site = Site(options.dir)
    try:
        if options.status:
            return show_status(site, options)
        if options.stop or options.clean:
            stop(site, options)
            return 0
        run(site, options)
    except (QuickstartError, KeyboardInterrupt) as error:
        # kazoo takes an interrupt that it is hit by for a lost connection.
        if _interrupted.is_set():
            rest = "" if options.once else " What runs goes on running: see --status and --stop; or start again."
            print(f"\nInterrupted.{rest}", file=sys.stderr)
            return INTERRUPTED
        print(f"tools/quickstart.sh: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
