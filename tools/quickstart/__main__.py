"""The program behind ``tools/quickstart.sh``: what runs, and how to end it."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING

from tools.quickstart.background import QuickstartError, explained, program, shown
from tools.quickstart.conditions import image_of
from tools.quickstart.options import DEFAULT_DIRECTORY, DEFAULT_KIND, ROOT, parse
from tools.quickstart.site import Site

INTERRUPTED = 130


# What follows is imported where it is needed, because kazoo is not needed, and may not be installed, for the status.
if TYPE_CHECKING:
    from tools.quickstart.source import NodeSource


def source_of(site: Site, options: argparse.Namespace) -> NodeSource:
    """Where the nodes come from."""
    from tools.quickstart.machines import Machines, Wishes
    from tools.quickstart.static_host import StaticHost

    kind = site.kind or DEFAULT_KIND
    if kind != "static":
        port = options.ssh_port or site.port("machines") or None
        return Machines(site.directory, kind, Wishes(site.image, options.cache, port))
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
        kind = options.kind or site.kind or DEFAULT_KIND
        site.choose(kind, image_of(site, kind, options.image), options.ssh_port)
        source = source_of(site, options)
        try:
            job.run(site, source, options.zookeeper_port)
        finally:
            if options.once:
                print(f"\n{_ended(job.stop(site, source))}")
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


def _ended(names: list[str]) -> str:
    return f"Ended: {', '.join(names)}" if names else "Nothing was running"


def stop(site: Site, options: argparse.Namespace) -> None:
    """End everything, say what was ended, and with ``--clean`` remove the directory."""
    if not site.exists:
        print(f"There is no quickstart in {site.directory}")
        return
    from tools.quickstart import job

    with site.opened():
        source = source_of(site, options)
        print(_ended(job.stop(site, source)))
        if options.clean:
            source.remove()
            site.remove()
            print(f"Removed {site.directory}")


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
    except BrokenPipeError:
        # Nobody reads any more what is printed, nor may the interpreter try it again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (QuickstartError, OSError, KeyboardInterrupt) as error:
        # kazoo takes an interrupt that it is hit by for a lost connection.
        if _interrupted.is_set():
            rest = "" if options.once else " What runs goes on running: see --status and --stop; or start again."
            print(f"\nInterrupted.{rest}", file=sys.stderr)
            return INTERRUPTED
        print(f"tools/quickstart.sh: {explained(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    if code == INTERRUPTED:
        # Kazoo would end its threads now, and may wait for ever for what the interrupt has broken off.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)
    sys.exit(code)
