"""What a launcher and a builder send to a statsd server, under the names, types and units of Nodepool 11."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from nodepool.model.states import NodeState
from nodepool.telemetry.statsd_metrics import METRICS
from tests.builder_process import IMAGE, BuilderProcess, image_provider
from tests.launcher_process import LauncherProcess, fake_provider, zookeeper_client
from tests.requestor import SYSTEM, Zuul, zuul
from tests.statsd_server import StatsdServer
from tests.zookeeper import Place, eventually
from tools.cloud.process import CloudProcess

PREFIX = "nodepool.task.alpha"
SECONDS = 60.0
"""How long is waited for what a census tells, of which there is one in five seconds."""
HOST = socket.getfqdn()


@pytest.fixture
def statsd() -> Iterator[StatsdServer]:
    with StatsdServer() as server:
        yield server


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[CloudProcess]:
    """A simulated OpenStack whose client tells statsd of its calls, by the name that Nodepool's manual gives."""
    settings = {"name": "alpha", "region": {"boot": 0.1, "networks": [{"name": "ci", "cidr": "10.20.0.0/16"}]}}
    with CloudProcess(tmp_path / "alpha", settings) as process:
        document = yaml.safe_load(process.clouds_yaml.read_text())
        document["metrics"] = {"statsd": {"prefix": PREFIX}}
        (tmp_path / "clouds.yaml").write_text(yaml.safe_dump(document))
        yield process


def openstack_provider() -> dict[str, Any]:
    label = {"name": "small", "cloud-image": "base", "min-ram": 1}
    pool = {"name": "main", "networks": ["ci"], "host-key-checking": False, "max-servers": 7, "labels": [label]}
    return {"name": "alpha", "cloud": "alpha", "rate": 0, "cloud-images": [{"name": "base"}], "pools": [pool]}


@pytest.fixture
def launcher(cloud: CloudProcess, statsd: StatsdServer, tmp_path: Path, zookeeper: Place) -> Iterator[LauncherProcess]:
    """A launcher with a cloud that works, and one that makes nothing."""
    del cloud
    broken = fake_provider("fake-broken", ["bad"], fake={"faults": {"create-refused": 1.0}})
    with LauncherProcess(
        tmp_path / "launcher",
        zookeeper,
        providers=[openstack_provider(), {**broken, "launch-retries": 2}],
        labels=["small", "bad"],
        tenant_resource_limits=[{"tenant-name": "acme.example", "max-servers": 5, "max-ram": 1000}],
        environment={**statsd.environment, "OS_CLIENT_CONFIG_FILE": str(tmp_path / "clouds.yaml")},
    ) as process:
        yield process


def known_metric(name: str, kind: str) -> bool:
    """Whether a metric is one of those that are declared, or one that openstacksdk sends."""
    if name.startswith(f"{PREFIX}."):
        return True
    return any(
        kind in {one.value for one in metric.kinds}
        and re.fullmatch(re.sub(r"\\\{\w+\\\}", ".+", re.escape(metric.name)), name)
        for metric in METRICS
    )


def test_a_launcher_tells_what_it_sees_and_what_happens(
    launcher: LauncherProcess, statsd: StatsdServer, zookeeper: Place
) -> None:
    with zuul(zookeeper) as client:
        (node_id,) = client.accept(client.submit("small"))
        zone = client.use(node_id)["az"]
        assert client.wait_done(client.submit("bad"))["state"] == "failed"
        expected = _expected_gauges()
        eventually(lambda: {name: statsd.last(name) for name in expected} == expected, SECONDS)
    _check_launches(statsd, zone)
    queues = ["client.connection", "node_cache.event", "request_cache.event", "image_cache.event"]
    assert all(statsd.values(f"nodepool.launcher.{HOST}.zk.{queue}_queue", "g") for queue in queues)
    _check_calls_of_the_cloud(statsd)
    assert [name for name, kind in statsd.sent() if not known_metric(name, kind)] == []
    assert max(map(len, statsd.packets)) <= 1200
    assert launcher.log.count("Metrics go to the statsd server 127.0.0.1") == 1


def _check_launches(statsd: StatsdServer, zone: str) -> None:
    """Each attempt counts, and its time in milliseconds runs from the start of the first."""
    names = ["nodepool.launch", "nodepool.launch.provider.alpha", f"nodepool.launch.requestor.{SYSTEM}"]
    names += [f"nodepool.launch.provider.alpha.{zone}", "nodepool.launch.image.base"]
    for name in names:
        assert statsd.values(f"{name}.ready", "c") == [1], name
        (milliseconds,) = statsd.values(f"{name}.ready", "ms")
        assert 100 < milliseconds < 100_000
    for name in ("nodepool.launch", "nodepool.launch.provider.fake-broken", f"nodepool.launch.requestor.{SYSTEM}"):
        assert statsd.values(f"{name}.error.unknown", "c") == [1, 1], name
        first, second = statsd.values(f"{name}.error.unknown", "ms")
        assert first <= second


def _expected_gauges() -> dict[str, float | None]:
    """While one node of the label ``small`` is in use, and a request for ``bad`` has failed."""
    expected: dict[str, float | None] = {
        f"{prefix}.nodes.{state}": float(state is NodeState.IN_USE)
        for prefix in ("nodepool", "nodepool.label.small", "nodepool.provider.alpha")
        for state in NodeState
    }
    caches = [f"{cache}_cache.playback_queue" for cache in ("node", "request", "image")]
    return expected | {
        "nodepool.label.bad.nodes.ready": 0,
        "nodepool.provider.alpha.pool.main.addressable_requests": 0,
        "nodepool.provider.fake-broken.pool.main.addressable_requests": 1,
        "nodepool.provider.alpha.max_servers": 7,
        "nodepool.provider.fake-broken.max_servers": None,
        "nodepool.tenant_limits.acme_example.instances": 5,
        "nodepool.tenant_limits.acme_example.ram": 1000,
        **{f"nodepool.launcher.{HOST}.zk.{cache}": 0 for cache in caches},
    }


def _check_calls_of_the_cloud(statsd: StatsdServer) -> None:
    """They are openstacksdk's own: service, method, what of the path is constant, and status."""
    counted = {name for name, kind in statsd.sent() if kind == "c"}
    timed = {name for name, kind in statsd.sent() if kind == "ms"}
    for method, status in (("POST", 202), ("GET", 200)):
        pattern = rf"{re.escape(PREFIX)}\.compute\.{method}\.\w+\.{status}"
        assert [name for name in counted & timed if re.fullmatch(pattern, name)], counted


def test_one_launcher_of_several_tells_what_all_of_them_see(
    statsd: StatsdServer, tmp_path: Path, zookeeper: Place
) -> None:
    with StatsdServer() as other:
        servers = {"a": statsd, "b": other}
        launchers = {
            name: LauncherProcess(
                tmp_path / name,
                zookeeper,
                providers=[fake_provider(f"fake-{name}", ["x"], max_servers=3)],
                labels=["x"],
                environment=server.environment,
            )
            for name, server in servers.items()
        }
        with launchers["a"], launchers["b"]:
            for name, server in servers.items():
                eventually(partial(server.last, f"nodepool.provider.fake-{name}.max_servers"), SECONDS)
            eventually(lambda: any(server.values("nodepool.nodes.ready", "g") for server in servers.values()), SECONDS)
            (first,) = [name for name, server in servers.items() if server.values("nodepool.nodes.ready", "g")]
            second = servers["b" if first == "a" else "a"]
            launchers[first].stop()
            eventually(lambda: second.values("nodepool.nodes.ready", "g"), SECONDS)


def test_a_builder_tells_what_it_does(statsd: StatsdServer, tmp_path: Path, zookeeper: Place) -> None:
    builder = BuilderProcess(
        tmp_path / "builder",
        zookeeper,
        providers=[image_provider("west", tmp_path / "cloud")],
        environment=statsd.environment,
    )
    state = f"nodepool.builder.{HOST}.image.{IMAGE}.build.state"
    upload = f"nodepool.builder.{HOST}.image.{IMAGE}.provider.west.upload.state"
    builder.hold.touch()
    with builder, zookeeper_client(zookeeper) as client:
        eventually(lambda: statsd.last(state) == statsd.last(f"nodepool.builder.{HOST}.current_builds") == 1, SECONDS)
        builder.hold.unlink()
        eventually(lambda: statsd.values(f"nodepool.image_update.{IMAGE}.west", "c") == [1], SECONDS)
        client.create(f"/nodepool/images/{IMAGE}/pause", makepath=True)
        client.create(f"/nodepool/images/{IMAGE}/request-build", makepath=True)
        expected = {
            "nodepool.image_build_requests": 1,
            f"nodepool.image.{IMAGE}.image_build_requests": 1,
            state: 3,
            upload: 0,
            f"nodepool.builder.{HOST}.current_builds": 0,
            f"nodepool.builder.{HOST}.current_uploads": 0,
            f"nodepool.builder.{HOST}.build_workers": 1,
            f"nodepool.builder.{HOST}.upload_workers": 4,
        }
        eventually(lambda: {name: statsd.last(name) for name in expected} == expected, SECONDS)
    (size,) = statsd.values(f"nodepool.dib_image_build.{IMAGE}.qcow2.size", "g")
    assert size >= 65536
    assert size % 512 == 0
    status = f"nodepool.dib_image_build.{IMAGE}.status"
    assert statsd.values(f"{status}.rc", "g") == [0]
    assert statsd.values(f"{status}.duration", "ms")[0] > 0
    assert statsd.values(f"{status}.last_build", "g")[0] > 1e9
    assert statsd.values(f"nodepool.image_update.{IMAGE}.west", "ms")[0] > 0
    assert [name for name, kind in statsd.sent() if not known_metric(name, kind)] == []


def test_metrics_stop_nobody_when_their_server_is_not_found(tmp_path: Path, zookeeper: Place) -> None:
    with (
        LauncherProcess(
            tmp_path,
            zookeeper,
            providers=[fake_provider("fake-cloud", ["x"])],
            labels=["x"],
            environment={"STATSD_HOST": "statsd.invalid"},
        ) as launcher,
        zuul(zookeeper) as client,
    ):
        obtain(client)
        launcher.wait_log("The statsd server statsd.invalid is not found, metrics are dropped")


def obtain(client: Zuul) -> None:
    """A node comes as ever."""
    assert client.fulfilled(client.submit("x"))


def test_a_port_that_is_none_is_refused_at_the_start(tmp_path: Path, zookeeper: Place) -> None:
    launcher = LauncherProcess(
        tmp_path,
        zookeeper,
        providers=[fake_provider("fake-cloud", ["x"])],
        labels=["x"],
        environment={"STATSD_PORT": "statsd"},
    )
    launcher.start(wait=False)
    assert launcher.wait_end(30.0) == 1
    assert "nodepool-launcher: STATSD_PORT: 'statsd' is not a port (1 to 65535); correct or unset it" in launcher.log
