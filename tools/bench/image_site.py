"""What the measurements of images run against: a ZooKeeper, a simulated OpenStack, and a builder that uses it.

Builds are made by a command that makes an empty disk: what is measured is what comes after it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient

from nodepool.zk import paths
from tools.bench.site import Site, client, wait_for
from tools.cloud.process import CloudProcess

LATENCY = 0.02
FORMAT = "qcow2"
COMMAND = """#!/bin/sh
while [ $# -gt 0 ]; do
    if [ "$1" = -o ]; then output=$2; fi
    shift
done
exec qemu-img create -q -f {format} "$output.{format}" 1M
"""


class ImageSite:
    """A builder on a simulated cloud with a region for each provider, and one pool with a label for each image."""

    def __init__(self, place: Site, images: int, providers: int) -> None:
        self.place = place
        self.images = [f"image{number:03}" for number in range(images)]
        self.providers = [f"region{number}" for number in range(providers)]
        self.configuration = place.directory / "nodepool.yaml"
        self.directory = place.directory / "images"
        self.cloud = CloudProcess(place.directory / "cloud", self._cloud_settings())
        self._command = place.directory / "make-image"

    def __enter__(self) -> ImageSite:
        self._command.write_text(COMMAND.format(format=FORMAT))
        self._command.chmod(0o755)
        self.configuration.write_text(json.dumps(self._configuration()))
        self.cloud.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cloud.stop()

    @property
    def environment(self) -> dict[str, str]:
        """Of the programs."""
        return {**os.environ, "OS_CLIENT_CONFIG_FILE": str(self.cloud.clouds_yaml)}

    @contextlib.contextmanager
    def program(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        """A ``builder`` or a ``launcher`` that is registered."""
        command = [sys.executable, "-m", f"nodepool.cmd.{name}", "-f", "-c", str(self.configuration)]
        command += ["--no-webapp"] if name == "launcher" else []
        with open(self.place.directory / f"{name}.log", "ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=self.environment)
        try:
            with client(self.place) as zookeeper:
                parent = paths.components("pool" if name == "launcher" else name)
                wait_for(lambda: zookeeper.exists(parent) and zookeeper.get_children(parent), f"the {name} to register")
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)

    def fill(self, builder_id: str | None = None) -> None:
        """Have two builds of each image, on the disk and in each provider, as it is when nothing is left to do."""
        own = builder_id or str(uuid.uuid4())
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "builder_id.txt").write_text(own)
        with client(self.place) as zookeeper:
            for image in self.images:
                for age in (1000.0, 500.0):
                    fill_build(zookeeper, self.directory, image, self.providers, own, time.time() - age)

    def _cloud_settings(self) -> dict[str, Any]:
        region = {
            "latency": {"*": LATENCY},
            "boot": 1.0,
            "quota": {"instances": 10_000, "cores": -1, "ram": -1, "ports": -1},
            "networks": [{"name": "shared", "cidr": "203.0.0.0/16", "external": True, "shared": True}],
        }
        return {"region": region, "regions": {name: {} for name in self.providers}, "identity_latency": LATENCY}

    def _configuration(self) -> dict[str, Any]:
        labels = [
            {"name": image, "diskimage": image, "min-ram": 512, "host-key-checking": False} for image in self.images
        ]
        return {
            "zookeeper-servers": [{"host": "127.0.0.1", "port": self.place.port}],
            "images-dir": str(self.directory),
            "images-min-free-space": 0,
            "build-log-dir": str(self.place.directory / "logs"),
            "labels": [{"name": image} for image in self.images],
            "diskimages": [{"name": image, "dib-cmd": str(self._command)} for image in self.images],
            "providers": [
                {
                    "name": name,
                    "driver": "openstack",
                    "cloud": "simulated",
                    "region-name": name,
                    "rate": 0,
                    "diskimages": [{"name": image} for image in self.images],
                    "pools": [{"name": "main", "networks": ["shared"], "labels": labels}],
                }
                for name in self.providers
            ],
        }


def fill_build(
    zookeeper: KazooClient, directory: Path, image: str, providers: Sequence[str], builder_id: str, ended: float
) -> None:
    """A good build with its files, and a good upload of it to each provider, all of them so since ``ended`` (epoch)."""
    build_id = uuid.uuid4().hex
    common = {"state": "ready", "state_time": ended, "username": "zuul", "python_path": "auto", "shell_type": None}
    transaction = zookeeper.transaction()

    def create(path: str, values: Mapping[str, Any] | None = None) -> None:
        transaction.create(path, json.dumps(values).encode() if values else b"")

    zookeeper.ensure_path(paths.image_lock(image))
    build = {**common, "builder": "bench", "builder_id": builder_id, "formats": [FORMAT]}
    create(paths.build(image, build_id), build)
    create(paths.build_providers(image, build_id))
    for provider in providers:
        create(f"{paths.build_providers(image, build_id)}/{provider}")
        create(paths.uploads(image, build_id, provider))
        create(paths.uploads_lock(image, build_id, provider))
        name = f"{image}-{int(ended)}"
        upload = {**common, "external_id": str(uuid.uuid4()), "external_name": name, "format": FORMAT}
        create(paths.upload(image, build_id, provider, "0000000001"), upload)
    problems = [result for result in transaction.commit() if isinstance(result, Exception)]
    if problems:
        raise problems[0]
    for name in (FORMAT, f"{FORMAT}.md5", f"{FORMAT}.sha256"):
        (directory / f"{image}-{build_id}.{name}").touch()
    (directory / f"{image}-{build_id}.d").mkdir()
