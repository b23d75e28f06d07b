"""What nodepool.yaml says of local providers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import voluptuous as v

from nodepool.driver.local.config import LocalProviderConfig
from nodepool.driver.local.driver import LocalDriver
from nodepool.driver.local.machine import NetworkAccess
from nodepool.model.resources import Resources

USER = SimpleNamespace(username="ci", python_path="auto", shell_type=None)
TOP = SimpleNamespace(labels={"small": None, "large": None}, diskimages={"deb": USER}, providers={})
LABELS = [{"name": "small", "diskimage": "deb"}, {"name": "large", "diskimage": "deb", "cores": 2, "ram": 2048}]
ENTRY: dict[str, Any] = {
    "name": "here",
    "driver": "local",
    "diskimages": [{"name": "deb"}],
    "pools": [{"name": "main", "max-servers": 3, "max-ram": 4096, "labels": LABELS}],
}


def load(**changes: Any) -> LocalProviderConfig:
    """The configuration of a provider, with ``_`` for ``-`` in the names of keys."""
    entry = ENTRY | {name.replace("_", "-"): value for name, value in changes.items()}
    config = LocalDriver().getProviderConfig(entry)
    config.getSchema()(entry)
    assert list(config.checkReferences(TOP)) == []
    config.load(TOP)
    return config


def test_little_has_to_be_said() -> None:
    config = load()
    host = config.host
    assert (host.kind, host.network_access, host.port) == ("qemu", NetworkAccess.OUTSIDE, None)
    assert str(host.network) == "127.64.0.0/16"
    assert host.state_directory == Path("/var/lib/nodepool/local")
    small, large = config.pools["main"].labels.values()
    assert small.machine.cost == Resources(instances=1, cores=1, ram=512)
    assert large.machine.cost == Resources(instances=1, cores=2, ram=2048)
    assert small.machine.username == "ci"


def test_the_launcher_scans_nothing_as_the_driver_knows_the_host_keys() -> None:
    (pool,) = load().settings().pools.values()
    assert not pool.labels["small"].host_key_checking
    assert pool.limits == Resources.limit({"instances": 3, "ram": 4096})


def test_images_are_managed_where_they_are_listed() -> None:
    assert load().manage_images
    assert list(load().image_settings().images) == ["deb"]


def test_a_change_of_the_user_of_an_image_is_a_change_of_the_provider() -> None:
    other = SimpleNamespace(username="root", python_path="auto", shell_type=None)
    changed = load()
    changed.load(SimpleNamespace(labels={}, diskimages={"deb": other}, providers={}))
    assert changed != load()
    assert load() == load()


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("kind", "vmware", "expected one of qemu, container"),
        ("network", "10.0.0.0/8", "expected a network of loopback addresses"),
        ("network", "127.0.0.1/8", "expected a network of loopback addresses"),
        ("network", 127, "expected a network of loopback addresses"),
        ("network-access", True, "expected one of none, outside, host"),
        ("state-dir", "state", "expected a path that begins with / or ~/"),
        ("authorized-keys", "~/.ssh/id.pub", "expected a list"),
        ("authorized-keys", ["id_ed25519.pub"], "expected a public key .* or a path"),
        ("port", 0, "expected a port number"),
        ("parallel-starts", 0, "1 or more"),
        ("max-ram", 1, "64 or more"),
    ],
)
def test_what_is_wrong_is_said(key: str, value: Any, expected: str) -> None:
    config = LocalDriver().getProviderConfig(ENTRY)
    with pytest.raises(v.Invalid, match=expected):
        config.getSchema()(ENTRY | {key: value})


def test_a_label_needs_one_image_that_the_provider_has() -> None:
    pools = [{"name": "main", "labels": [{"name": "small", "diskimage": "else"}, {"name": "large"}]}]
    entry = ENTRY | {"pools": pools}
    problems = [problem.message for problem in LocalDriver().getProviderConfig(entry).checkReferences(TOP)]
    assert len(problems) == 2
    assert "there is no 'else'" in problems[0]
    assert "one of diskimage and cloud-image" in problems[1]
