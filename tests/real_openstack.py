"""The real OpenStack of ``tools/openstack.sh``, for tests: found running or started, and left as it was.

Its hypervisor is steered by the metadata of servers, see ``tools/openstack/plugins/controlled.py``. There is nothing
behind the addresses of its servers.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openstack import exceptions
from openstack.config.loader import OpenStackConfig
from openstack.connection import Connection

from tests.openstack_bench import DEADLINE, AdapterBench, make_adapter
from tests.zookeeper import eventually as wait_until

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / "tools" / "openstack.sh"
DIRECTORY = Path(os.environ.get("NODEPOOL_OPENSTACK_DIRECTORY", ROOT / ".openstack"))
CLOUDS_YAML = DIRECTORY / "clouds.yaml"
START_SECONDS = 1200.0
STOP_SECONDS = 120.0
PATIENCE = 120.0
"""Seconds that a test waits for what a busy machine does in ten."""
PAUSE = 0.3
"""Seconds between two looks at the cloud: each costs it processor time, and it is on this machine."""
BASE_IMAGE = "base"
OF_A_TEST = "-of-a-test"
"""End of the names of flavors that a test makes."""
ZONES = ("az1", "az2")
LABEL: dict[str, Any] = {"cloud-image": BASE_IMAGE, "flavor-name": "m1.tiny", "host-key-checking": False}
FAULT = {"abort": {"fake-fault": "abort"}, "reschedule": {"fake-fault": "reschedule"}}


@dataclass(frozen=True)
class RealCloud:
    """The cloud, by connections of openstacksdk, whose own types tell too little."""

    user: Any
    """An ordinary member of a project."""
    admin: Any
    """The operator."""

    @property
    def project_id(self) -> str:
        """The project of ``user``."""
        return str(self.user.current_project_id)

    def servers(self) -> dict[str, Any]:
        """All servers of the project by id, as the cloud itself tells now."""
        return {server.id: server for server in self.user.compute.servers()}

    def server_ports(self) -> list[Any]:
        """Ports of servers, and of nobody."""
        return [port for port in self.user.network.ports() if not port.device_owner.startswith("network:")]

    def floating_addresses(self) -> list[Any]:
        """All of the project."""
        return list(self.user.network.ips())

    def uploads(self) -> list[Any]:
        """Images of the project but the base image."""
        images = self.user.image.images(owner=self.project_id)
        return [image for image in images if image.name != BASE_IMAGE]

    def network_id(self, name: str) -> str:
        """The id of a network."""
        network = self.user.network.find_network(name)
        assert network is not None
        return str(network.id)

    def quota(self, **limits: int) -> None:
        """Change the quota of the project: ``instances``, ``cores``, ``floating_ips``, ``ports``."""
        compute = {name: limit for name, limit in limits.items() if name in ("instances", "cores", "ram")}
        if compute:
            self.admin.set_compute_quotas(self.project_id, **compute)
        names = {"floating_ips": "floatingip", "ports": "port"}
        network = {names[name]: limit for name, limit in limits.items() if name in names}
        if network:
            self.admin.set_network_quotas(self.project_id, **network)

    def forget_quota(self) -> None:
        """Let the cloud's own quota hold again."""
        self.admin.delete_compute_quotas(self.project_id)
        with contextlib.suppress(exceptions.NotFoundException):
            self.admin.delete_network_quotas(self.project_id)

    def remains(self) -> list[str]:
        """What is there that a test may have made."""
        found = [f"server {server.name} ({server.status})" for server in self.servers().values()]
        found += [f"port {port.id} ({port.status})" for port in self.server_ports()]
        found += [f"floating address {address.floating_ip_address}" for address in self.floating_addresses()]
        return found + [f"image {image.name} ({image.status})" for image in self.uploads()]

    def clean(self) -> None:
        """Remove all that a test may have made, and undo what it may have changed."""
        self.forget_quota()
        for flavor in self.admin.compute.flavors():
            if flavor.name.endswith(OF_A_TEST):
                self.admin.compute.delete_flavor(flavor)
        eventually(self._nearly_clean)
        assert self.remains() == []

    def _nearly_clean(self) -> bool:
        with contextlib.suppress(exceptions.SDKException):
            for server in self.servers().values():
                if server.task_state != "deleting":
                    self.user.compute.delete_server(server.id)
            for address in self.floating_addresses():
                self.user.network.delete_ip(address.id)
            for image in self.uploads():
                self.user.image.delete_image(image.id)
            if not self.servers():
                for port in self.server_ports():
                    self.admin.network.delete_port(port.id)
        return not self.remains()


def eventually(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until something is so in the cloud."""
    wait_until(condition, seconds, PAUSE)


def connect(cloud: str) -> Connection:
    """A connection by clouds.yaml, and nothing from the environment."""
    loader = OpenStackConfig(config_files=[str(CLOUDS_YAML)], load_envvars=False)
    return Connection(config=loader.get_one(cloud=cloud))


@contextlib.contextmanager
def running_cloud() -> Iterator[RealCloud]:
    """The cloud, clean. One that ran before goes on; one that is started here is stopped at the end.

    However this process ends: the cloud is started for it. Two runs of tests take turns.
    """
    DIRECTORY.mkdir(exist_ok=True)
    with (DIRECTORY / "tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        call("start", "--while", str(os.getpid()), seconds=START_SECONDS)
        ours = (DIRECTORY / "run" / "guard.pid").exists()
        try:
            with connect("nodepool") as user, connect("admin") as admin:
                cloud = RealCloud(user, admin)
                cloud.clean()
                _make_base_image(user)
                yield cloud
        finally:
            if ours:
                call("stop", seconds=STOP_SECONDS)


def call(*arguments: str, seconds: float = STOP_SECONDS, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Call ``tools/openstack.sh``; with ``check``, a failure fails the test with what it said."""
    result = subprocess.run(
        [PROGRAM, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
    )
    if check and result.returncode != 0:
        command = " ".join(("tools/openstack.sh", *arguments))
        raise AssertionError(
            f"{command} failed; try 'tools/openstack.sh start' by hand, then run the tests again.\n"
            f"{result.stdout}{result.stderr}"
        )
    return result


@dataclass(frozen=True)
class Service:
    """A service of the cloud; ``name`` as ``tools/openstack.sh status`` tells it."""

    name: str

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """It is stopped meanwhile: connections are refused."""
        call("stop", self.name)
        try:
            yield
        finally:
            call("start", self.name)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """It accepts connections and does nothing meanwhile."""
        self._send(signal.SIGSTOP)
        try:
            yield
        finally:
            self._send(signal.SIGCONT)

    def restart(self) -> None:
        """Stop and start it; it answers when this returns."""
        with self.away():
            pass

    def _send(self, number: signal.Signals) -> None:
        os.killpg(int((DIRECTORY / "run" / f"{self.name}.pid").read_text().split()[0]), number)


def provider(name: str = "prov", *, label: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A provider of nodepool.yaml: pool ``main`` in both zones with the label ``small``; ``label`` changes that."""
    pool = {
        "name": "main",
        "networks": ["private"],
        "availability-zones": list(ZONES),
        "auto-floating-ip": False,
        "labels": [{"name": "small", **LABEL, **(label or {})}],
    }
    entry = {"name": name, "cloud": "nodepool", "rate": 0, "cloud-images": [{"name": BASE_IMAGE}], "pools": [pool]}
    return entry | changes


def pool(*labels: dict[str, Any], name: str = "main", **changes: Any) -> dict[str, Any]:
    """A pool in both zones; each label is :data:`LABEL` with changes. In ``changes``, ``_`` stands for ``-``."""
    entry = {"name": name, "networks": ["private"], "availability-zones": list(ZONES), "auto-floating-ip": False}
    entry["labels"] = [{**LABEL, **label} for label in labels]
    return entry | {key.replace("_", "-"): value for key, value in changes.items()}


@contextlib.contextmanager
def bench(entry: dict[str, Any], clouds_yaml: Path = CLOUDS_YAML, prepare: bool = True) -> Iterator[AdapterBench]:
    """The adapter of a provider, stopped at the end."""
    before = os.environ.get("OS_CLIENT_CONFIG_FILE")
    adapter = make_adapter(clouds_yaml, entry)
    try:
        if prepare:
            adapter.prepare(DEADLINE)
        yield AdapterBench(adapter, patience=PATIENCE, pause=PAUSE)
    finally:
        adapter.stop()
        os.environ.pop("OS_CLIENT_CONFIG_FILE", None)
        if before is not None:
            os.environ["OS_CLIENT_CONFIG_FILE"] = before


def _make_base_image(user: Any) -> None:
    """An image of a megabyte, which the fake hypervisor never reads."""
    if user.image.find_image(BASE_IMAGE) is None:
        path = DIRECTORY / "base.raw"
        with path.open("wb") as file:
            file.truncate(1 << 20)
        user.create_image(BASE_IMAGE, filename=str(path), disk_format="raw", container_format="bare", wait=True)
