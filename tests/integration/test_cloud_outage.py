"""A cloud that goes away for a while: one line in the log, no loss for others, and all is served when it is back.

A real launcher, the real openstacksdk, and two simulated clouds.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.installation import Installation
from tests.launcher_process import LauncherProcess
from tests.requestor import Zuul, zuul
from tests.zookeeper import eventually
from tools.cloud.process import CloudProcess

OUTAGE = 15.0
RECOVERY = 60.0
"""Seconds: the longest pause between two tries is half of it."""
PROMPT = 10.0
"""Seconds within which a cloud that works serves a request, whatever another one does."""
AWAY = r"WARNING .*Provider alpha does not answer: "
BACK = r"WARNING .*Provider alpha answers again after "


@pytest.fixture
def clouds(tmp_path: Path) -> Iterator[dict[str, CloudProcess]]:
    """Two clouds, which one clouds.yaml knows."""
    settings = {"region": {"boot": 0.3, "delete": 0.2, "networks": [{"name": "ci", "cidr": "10.20.0.0/16"}]}}
    with (
        CloudProcess(tmp_path / "alpha", settings | {"name": "alpha"}) as alpha,
        CloudProcess(tmp_path / "beta", settings | {"name": "beta"}) as beta,
    ):
        entries: dict[str, Any] = {}
        for cloud in (alpha, beta):
            entries |= yaml.safe_load(cloud.clouds_yaml.read_text())["clouds"]
        (tmp_path / "clouds.yaml").write_text(yaml.safe_dump({"clouds": entries}))
        yield {"alpha": alpha, "beta": beta}


@pytest.fixture
def launcher(site: Installation, clouds: dict[str, CloudProcess], tmp_path: Path) -> Iterator[LauncherProcess]:
    """A launcher that uses both; each has a label of its name."""
    process = LauncherProcess(
        tmp_path / "launcher",
        site.place,
        providers=[provider(name) for name in clouds],
        labels=list(clouds),
        environment={"OS_CLIENT_CONFIG_FILE": str(tmp_path / "clouds.yaml")},
    )
    with process:
        yield process


def provider(name: str) -> dict[str, Any]:
    label = {"name": name, "cloud-image": "base", "min-ram": 1}
    return {
        "name": name,
        "cloud": name,
        "rate": 0,
        "cloud-images": [{"name": "base"}],
        "pools": [{"name": "main", "networks": ["ci"], "host-key-checking": False, "labels": [label]}],
    }


@contextmanager
def outage(cloud: CloudProcess) -> Iterator[None]:
    """The cloud cuts every connection meanwhile."""
    cloud.control.add_faults(calls=[{"fault": "cut-before", "calls": ["*"]}])
    yield
    cloud.control.clear_faults()


def lines(launcher: LauncherProcess, pattern: str) -> list[str]:
    """Lines of the log that a pattern fits."""
    return [line for line in launcher.log.splitlines() if re.search(pattern, line)]


def give_back(client: Zuul, node_ids: list[str]) -> None:
    for node_id in node_ids:
        client.use(node_id)
        client.give_back(node_id)


def wait_gone(cloud: CloudProcess) -> dict[str, Any]:
    """Wait until the cloud has no server any more; returns the accounting of them."""
    eventually(lambda: cloud.control.region()["servers"]["alive"]["instances"] == 0, RECOVERY)
    servers: dict[str, Any] = cloud.control.region()["servers"]
    return servers


def test_a_region_that_goes_away_delays_only_its_own_nodes(
    site: Installation, clouds: dict[str, CloudProcess], launcher: LauncherProcess
) -> None:
    with zuul(site.place) as client:
        served = [client.accept(client.submit("alpha")) for _ in range(4)]
        begun = [client.submit("alpha") for _ in range(8)]
        with outage(clouds["alpha"]):
            end = time.monotonic() + OUTAGE
            for node_ids in served:
                give_back(client, node_ids)
            eventually(lambda: lines(launcher, AWAY))
            late = [client.submit("alpha") for _ in range(8)]
            eventually(lambda: lines(launcher, "Request waits: the provider does not answer"))
            before = launcher.log
            while time.monotonic() < end:
                give_back(client, client.accept(client.submit("beta"), PROMPT))
            meanwhile = launcher.log[len(before) :]
            assert not [line for line in meanwhile.splitlines() if "alpha" in line and "WARNING" in line]
            assert all((client.request(one) or {})["state"] == "requested" for one in late)
        for request_id in (*begun, *late):
            give_back(client, client.accept(request_id, RECOVERY))
        assert len(lines(launcher, AWAY)) == len(lines(launcher, BACK)) == 1
        assert float(re.split(BACK, lines(launcher, BACK)[0])[1].split()[0]) >= OUTAGE - 5.0
        servers = wait_gone(clouds["alpha"])
        assert servers["created"] == servers["gone"] == len(served) + len(begun) + len(late)
        assert servers["doubles"] == wait_gone(clouds["beta"])["doubles"] == {}
        site.wait(lambda audit: audit.left() == [])
        assert "Traceback" not in launcher.log


def test_a_cloud_that_hangs_for_a_while_keeps_nobody_else_waiting(
    site: Installation, clouds: dict[str, CloudProcess], launcher: LauncherProcess
) -> None:
    with zuul(site.place) as client:
        node_ids = client.accept(client.submit("alpha"))
        clouds["alpha"].suspend()
        give_back(client, node_ids)
        waiting = [client.submit("alpha") for _ in range(12)]
        for _ in range(5):
            give_back(client, client.accept(client.submit("beta"), PROMPT))
        assert not [one for one in waiting if (client.request(one) or {})["state"] == "fulfilled"]
        clouds["alpha"].resume()
        for request_id in waiting:
            give_back(client, client.accept(request_id, RECOVERY))
        servers = wait_gone(clouds["alpha"])
        assert (servers["created"], servers["doubles"]) == (13, {})
        site.wait(lambda audit: audit.left() == [])
        assert lines(launcher, AWAY) == []
