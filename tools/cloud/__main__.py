"""``python -m tools.cloud``: run a simulated cloud until SIGTERM or SIGINT.

Prints its URL when it serves. Exit code 0: ended as asked; 1: could not serve; 2: bad arguments or settings.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import yaml

from tools.cloud import clouds_yaml
from tools.cloud.reading import BadSettings
from tools.cloud.server import CloudServer
from tools.cloud.settings import CloudSettings, read_settings
from tools.cloud.state import Cloud

_SET_PARENT_DEATH_SIGNAL = 1


def main(arguments: list[str] | None = None) -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m tools.cloud", description="Run a simulated OpenStack cloud.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="TCP port (default: a free one)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings, YAML (see tools/cloud/settings.py)")
    parser.add_argument("--clouds-yaml", type=Path, metavar="FILE", help="write a clouds.yaml for clients there")
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this parent process ends")
    options = parser.parse_args(arguments)
    if options.parent is not None:
        die_with(options.parent)
    try:
        settings = read_file(options.config)
    except BadSettings as problem:
        print(problem, file=sys.stderr)
        return 2
    try:
        asyncio.run(_serve(settings, options))
    except OSError as problem:
        print(f"cannot serve on {options.host} port {options.port}: {problem}", file=sys.stderr)
        return 1
    return 0


def read_file(path: Path | None) -> CloudSettings:
    """Settings from a YAML file; None: all defaults. Raises BadSettings with the name of the file."""
    if path is None:
        return read_settings(None)
    try:
        return read_settings(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, BadSettings) as problem:
        raise BadSettings(f"{path}: {problem}") from None


def die_with(parent: int) -> None:
    """Let the kernel end this process with the thread that started it."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(1)


async def _serve(settings: CloudSettings, options: argparse.Namespace) -> None:
    cloud = Cloud(settings, time.time())
    server = CloudServer(cloud)
    url = await server.start(options.host, options.port)
    if options.clouds_yaml is not None:
        clouds_yaml.write(cloud, options.clouds_yaml)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    print(url, flush=True)
    await ended.wait()
    server.stop()


if __name__ == "__main__":
    sys.exit(main())
