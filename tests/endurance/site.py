"""What an endurance run works with: a ZooKeeper with its journal, simulated clouds, and real launchers."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.audit import Audit
from tests.journal import Journal, Transaction
from tests.launcher_process import PROGRAM, LauncherProcess
from tests.zookeeper import Place, local_zookeeper, new_place
from tools.cloud.process import CloudProcess
from tools.zookeeper import LocalZooKeeper

HASTY_PROGRAM = (sys.executable, "-m", "tests.endurance.hasty_launcher")
SESSION = 4.0
"""Session timeout of the launchers in seconds: for so long, what a killed one had locked stays so."""
READY_AGE = 3
"""Seconds after which a ready node that nobody wants any more is removed."""
ROOT = Path(__file__).resolve().parents[2]
DEFECTS = re.compile(r"Traceback|A decision failed|do not come to rest|The driver of provider .* failed")


@dataclass(frozen=True, slots=True)
class CloudPlan:
    """One cloud and the provider of the same name. Times are in seconds."""

    name: str
    quota: int = 100
    boot: tuple[float, float] = (0.1, 0.3)
    latency: float = 0.005
    list_lag: float = 0.0
    calls: Sequence[Mapping[str, Any]] = ()
    servers: Sequence[Mapping[str, Any]] = ()
    identity: Sequence[Mapping[str, Any]] = ()
    launch_timeout: float = 15.0
    provider: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of the provider."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of this cloud alone: servers as such, with a floating address, and booted from a volume."""
        return tuple(f"{self.name}-{kind}" for kind in ("small", "floating", "volume"))

    def settings(self, seed: int) -> dict[str, Any]:
        """Settings of the simulated cloud. It does not hold launchers to its quota: what goes beyond is counted."""
        return {
            "name": self.name,
            "seed": seed,
            "identity_faults": {"calls": list(self.identity)},
            "region": {
                "boot": list(self.boot),
                "delete": 0.1,
                "latency": {"*": self.latency},
                "list_lag": self.list_lag,
                "quota": {
                    "instances": self.quota,
                    "cores": self.quota * 4,
                    "ram": self.quota * 8192,
                    # Not among the limits that a launcher reads, and those that leaked count, too.
                    "floating_ips": self.quota * 4,
                },
                "quota_check": "none",
                "networks": [
                    {"name": "public", "cidr": "198.18.0.0/16", "external": True},
                    {"name": "shared", "cidr": "203.0.112.0/20", "external": True, "shared": True},
                    {"name": "private", "cidr": "10.20.0.0/16"},
                ],
                "faults": {"calls": list(self.calls), "servers": list(self.servers)},
            },
        }

    def entry(self) -> dict[str, Any]:
        """The provider in nodepool.yaml."""
        plain, floating, volume = ({"name": label, "cloud-image": "base", "min-ram": 512} for label in self.labels)
        volume |= {"boot-from-volume": True, "volume-size": 1}
        return {
            "name": self.name,
            "driver": "openstack",
            "cloud": self.name,
            "rate": 0,
            "launch-timeout": self.launch_timeout,
            "port-cleanup-interval": 2,
            "cloud-images": [{"name": "base", "username": "debian"}],
            "pools": [
                {"name": "main", "networks": ["shared"], "host-key-checking": False, "labels": [plain, volume]},
                {"name": "inside", "networks": ["private"], "host-key-checking": False, "labels": [floating]},
            ],
            **self.provider,
        }


class Site:
    """Everything that runs. Make it with :func:`site`."""

    def __init__(self, directory: Path, server: LocalZooKeeper, seed: int) -> None:
        self.directory = directory
        self.place: Place = new_place(server.hosts)
        self.clouds: dict[str, CloudProcess] = {}
        self.launchers: list[LauncherProcess] = []
        self.journal: list[Transaction] = []
        """All that happened in ZooKeeper, as far as :attr:`audit` has read."""
        self._seed = seed
        self._audit = Audit(self.place.chroot)
        self._reader = Journal(server.directory)

    def start(self, plans: Sequence[CloudPlan], launchers: int, *, hasty: bool, stack: ExitStack) -> None:
        """Start the clouds, then launchers that all have all providers."""
        clouds: dict[str, Any] = {}
        for plan in plans:
            process = CloudProcess(self.directory / plan.name, plan.settings(self._seed))
            self.clouds[plan.name] = stack.enter_context(process)
            clouds |= yaml.safe_load(process.clouds_yaml.read_text())["clouds"]
        merged = self.directory / "clouds.yaml"
        merged.write_text(yaml.safe_dump({"clouds": clouds}))
        merged.chmod(0o600)
        for number in range(launchers):
            launcher = LauncherProcess(
                self.directory / f"launcher-{number}",
                self.place,
                providers=[plan.entry() for plan in plans],
                labels=[{"name": label, "max-ready-age": READY_AGE} for plan in plans for label in plan.labels],
                environment={"OS_CLIENT_CONFIG_FILE": str(merged), "PYTHONPATH": str(ROOT)},
                program=HASTY_PROGRAM if hasty else (str(PROGRAM),),
                zookeeper_timeout=SESSION,
            )
            self.launchers.append(stack.enter_context(launcher))

    def left_in(self, name: str) -> dict[str, Any]:
        """What a cloud has that belongs to servers, alive or gone; empty if there is nothing."""
        accounting = self.clouds[name].control.region()
        found = {
            "servers": accounting["servers"]["alive"]["instances"],
            **{kind: accounting[kind] for kind in ("ports", "floating_ips", "volumes")},
        }
        return {kind: count for kind, count in found.items() if count}

    @property
    def audit(self) -> Audit:
        """All that happened in ZooKeeper; what broke a rule is in its ``complaints``."""
        news = self._reader.news()
        self.journal += news
        return self._audit.play(news)

    def defects(self) -> list[str]:
        """Lines of the launchers' logs that nothing a cloud does may cause."""
        lines = (line for launcher in self.launchers for line in launcher.log.splitlines())
        return [line for line in lines if DEFECTS.search(line)]

    def resident(self) -> list[int]:
        """Memory of the launchers in MiB."""
        return [_resident(launcher.pid) for launcher in self.launchers]

    def cpu(self) -> list[float]:
        """CPU seconds of the launchers so far."""
        return [_cpu(launcher.pid) for launcher in self.launchers]


@contextmanager
def site(
    directory: Path, plans: Sequence[CloudPlan], *, launchers: int = 1, hasty: bool = True, seed: int = 1
) -> Iterator[Site]:
    """All that a run needs, started; it ends with the block."""
    with ExitStack() as stack:
        server = stack.enter_context(local_zookeeper(directory / "zookeeper"))
        place = Site(directory, server, seed)
        place.start(plans, launchers, hasty=hasty, stack=stack)
        yield place


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
