"""The program ``nodepool`` as tests run it: with a configuration of its own, against a real ZooKeeper."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from kazoo.client import KazooClient

from tests.zookeeper import Place

PROGRAM = [sys.executable, "-m", "nodepool.cmd.admin"]
HOST = {"name": "127.0.0.9", "labels": ["jammy"], "username": "zuul"}
STATIC = {"name": "static-1", "driver": "static", "pools": [{"name": "main", "nodes": [HOST]}]}


class Commands:
    """Runs ``nodepool`` with a configuration of its own."""

    def __init__(self, directory: Path, place: Place) -> None:
        host, _, port = place.hosts.rpartition(":")
        self.document: dict[str, Any] = {
            "zookeeper-servers": [{"host": host, "port": int(port), "chroot": place.chroot}],
            "labels": [{"name": "jammy"}],
            "providers": [STATIC],
        }
        self.file = directory / "nodepool.yaml"
        self.write()

    def write(self, **changes: Any) -> None:
        """Write the configuration with other keys at its top."""
        self.file.write_text(yaml.safe_dump(self.document | changes))

    def command(self, *arguments: str) -> list[str]:
        """The command line."""
        return [*PROGRAM, "-c", str(self.file), *arguments]

    def run(self, *arguments: str, answer: str = "", status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, which must be ``status``; it must never show a traceback."""
        done = subprocess.run(self.command(*arguments), input=answer, capture_output=True, text=True, timeout=60)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def json(self, *arguments: str) -> Any:
        """The JSON document that a command writes."""
        return json.loads(self.run(*arguments, "--json").stdout)

    @contextlib.contextmanager
    def started(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[str]]:
        """A command that runs meanwhile."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(self.command(*arguments), stdin=stdin, stdout=pipe, stderr=pipe, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def put(peer: KazooClient, path: str, value: Mapping[str, Any] | bytes, **options: bool) -> str:
    """Create a znode with its parents; returns its path."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    created: str = peer.create(path, data, makepath=True, **options)
    return created


def cells(table: str) -> list[list[str]]:
    """Header and rows, as scripts cut them."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
