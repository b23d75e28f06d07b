"""What containers may use of this host: control groups, found, made, held to and removed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nodepool.driver.errors import CloudError
from nodepool.driver.local import container_limits as limits
from nodepool.driver.local.container_namespaces import Namespaces
from nodepool.driver.local.host import resources
from nodepool.driver.local.machine import Remains
from tests import local_host
from tests.integration.test_local_container import Lab
from tests.zookeeper import eventually

PLACES = limits.find_places()
needs_groups = pytest.mark.skipif(not PLACES, reason="nobody lets this user make control groups: run this test as root")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab in which nothing is left running, whatever the test does."""
    one = Lab(tmp_path)
    one.make()
    with contextlib.closing(one):
        yield one


def groups_of(engine: Namespaces) -> list[Path]:
    return [group for place in PLACES for group in place.glob(f"{engine.prefix}*")]


def setting(groups: list[Path], *names: str) -> str:
    """What the one file says that has one of these names."""
    (path,) = (group / name for group in groups for name in names if (group / name).exists())
    return path.read_text().split()[0]


@needs_groups
def test_a_machine_has_no_more_memory_than_its_label_says(lab: Lab) -> None:
    plan = replace(lab.plan(), ram=96)
    lab.start(plan)
    assert "1+0 records out" in lab.ask(plan, "dd if=/dev/zero of=/dev/null bs=16M count=1 2>&1")
    assert lab.run(plan, "dd if=/dev/zero of=/dev/null bs=200M count=1").returncode != 0
    assert lab.ask(plan, "hostname") == "host-n1"


@needs_groups
def test_the_groups_of_a_machine_say_what_its_label_says_and_go_with_it(lab: Lab) -> None:
    plan = replace(lab.plan(), ram=96, cores=2)
    engine = Namespaces(lab.nodes)
    lab.start(plan)
    found = groups_of(engine)
    assert len(found) == len(PLACES)
    assert setting(found, "pids.max") == str(limits.PROCESSES)
    assert setting(found, "memory.max", "memory.limit_in_bytes") == str(96 << 20)
    assert setting(found, "cpu.max", "cpu.cfs_quota_us") == "200000"
    assert all((group / "cgroup.procs").read_text() for group in found)
    lab.kind.destroy(plan.directory)
    assert groups_of(engine) == []


@needs_groups
def test_a_group_without_a_machine_is_swept_and_one_in_use_is_not(lab: Lab) -> None:
    plan = lab.plan()
    engine = Namespaces(lab.nodes)
    lab.start(plan)
    lost = [place / f"{engine.prefix}lost" for place in PLACES]
    for group in lost:
        (group / "made by its job").mkdir(parents=True)
    found = lab.kind.remains(frozenset({plan.directory}))
    assert sorted(remains.id for remains in found) == sorted(f"group:{group}" for group in lost)
    with pytest.raises(CloudError, match="cannot remove the control group"):
        lab.kind.remove(Remains(f"group:{PLACES[0] / (engine.prefix + plan.id)}"))
    for remains in found:
        lab.kind.remove(remains)
        lab.kind.remove(remains)
    eventually(lambda: not lab.kind.remains(frozenset({plan.directory})))
    assert len(groups_of(engine)) == len(PLACES)


def test_the_nearest_group_in_which_all_is_switched_on_is_taken(tmp_path: Path) -> None:
    """A tree as of the second version of control groups, as far as it is read."""
    session = tmp_path / "user.slice" / "user-1.slice"
    (session / "app.slice" / "launcher.scope").mkdir(parents=True)
    for group, switched_on in ((tmp_path, ""), (session.parent, "memory pids"), (session, "cpu io memory pids")):
        (group / "cgroup.subtree_control").write_text(f"{switched_on}\n")
        (group / "cgroup.procs").touch()
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    own = "1:name=other:/elsewhere\n0::/user.slice/user-1.slice/app.slice/launcher.scope\n"
    assert limits.find_places(tmp_path, own) == (session,)
    assert limits.find_places(tmp_path, "0::/system.slice/other.service\n") == (tmp_path,)
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"


def test_a_host_without_control_groups_has_no_place_for_them(tmp_path: Path) -> None:
    assert limits.find_places(tmp_path, "") == ()


def test_who_asks_for_more_than_there_is_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys: dict[str, Any] = {"kind": "container", "network_access": "none", "diskimages": [{"name": "deb"}]}
    there = resources()
    sane = local_host.make(tmp_path, {"diskimage": "deb"}, max_cores=1, max_ram=512, **keys)
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []
    label = {"diskimage": "deb", "ram": 1 << 30, "cores": 2000}
    pools = [{"name": "main", "max-servers": 9, "labels": [{"name": "small", **label}]}]
    host = local_host.make(
        tmp_path, label, max_cores=1000, max_ram=1 << 29, network="127.86.0.0/29", pools=pools, **keys
    )
    ram, cores = f"{there['ram']:g}", there["cores"]
    for said in (
        f"max-ram is 536870912 MiB, but this host has {ram} MiB",
        f"max-cores is 1000, but this host has {cores} processors",
        "max-servers are 9 together, but the network 127.86.0.0/29 has room for 6 machines",
        "the label 'small' wants 2000 cores, but all machines of the provider together may use 1000",
        f"the label 'small' wants 1073741824 ram, but all machines of the provider together may use {ram}",
    ):
        assert said in caplog.text
    assert host.adapter.limits(local_host.DEADLINE)["ram"] == there["ram"]
    assert sane.adapter.limits(local_host.DEADLINE)["ram"] == 512
