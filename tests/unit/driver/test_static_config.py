"""What the static driver makes of its part of nodepool.yaml."""

from __future__ import annotations

import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from nodepool.driver.adapter import LabelSettings, PoolSettings
from nodepool.driver.contract import ReferenceProblem
from nodepool.driver.registry import get_driver
from nodepool.driver.static.config import StaticHost, StaticProviderConfig, read_host
from nodepool.model.resources import Resources

TOP = SimpleNamespace(labels={"a": None, "b": None}, diskimages={}, providers={})


def loaded(*nodes: dict[str, Any], **pool: Any) -> StaticProviderConfig:
    entry = {"name": "rack", "driver": "static", "pools": [{"name": "main", "nodes": list(nodes), **pool}]}
    config = get_driver("static").getProviderConfig(entry)
    assert isinstance(config, StaticProviderConfig)
    config.getSchema()(entry)
    config.load(TOP)
    return config


def test_defaults_are_those_of_nodepool_11() -> None:
    assert read_host({"name": "h1", "labels": ["a"]}) == StaticHost(
        name="h1",
        labels=("a",),
        username="zuul",
        connection_type="ssh",
        port=22,
        host_keys=(),
        checked=True,
        timeout=5.0,
        python_path="auto",
        shell_type=None,
        slots=1,
    )


@pytest.mark.parametrize(
    ("text", "labels"), [("a", ("a",)), ("a b", ("a", "b")), (["a", "b", "a"], ("a", "b")), (" a  a ", ("a",))]
)
def test_labels_are_split_into_a_list(text: str | list[str], labels: tuple[str, ...]) -> None:
    assert read_host({"name": "h1", "labels": text}).labels == labels


@pytest.mark.parametrize(
    ("keys", "port"),
    [
        ({"ssh-port": 2022}, 2022),
        ({"ssh-port": 2022, "connection-port": 2023}, 2023),
        ({"connection-type": "winrm"}, 5986),
        ({"connection-type": "winrm", "connection-port": 5985}, 5985),
        ({"connection-type": "network_cli"}, 22),
    ],
)
def test_the_port_has_an_old_name_and_depends_on_the_connection_type(keys: dict[str, Any], port: int) -> None:
    assert read_host({"name": "h1", "labels": "a", **keys}).port == port


def test_host_keys_lose_their_comments() -> None:
    host = read_host({"name": "h1", "labels": "a", "host-key": ["ssh-rsa AAAA root@h1", "ssh-ed25519 BBBB"]})
    assert host.host_keys == ("ssh-rsa AAAA", "ssh-ed25519 BBBB")


def test_the_launcher_learns_pools_labels_and_limits() -> None:
    config = loaded({"name": "h1", "labels": "a b"}, **{"max-servers": 3, "node-attributes": {"zone": "eu"}})
    settings = config.settings()
    assert settings.max_concurrency is None
    assert settings.pools == {
        "main": PoolSettings(
            name="main",
            labels={"a": LabelSettings("a"), "b": LabelSettings("b")},
            limits=Resources.limit({"instances": 3}),
            node_attributes={"zone": "eu"},
        )
    }
    assert config.getSupportedLabels() == {"a", "b"}
    assert config.manage_images is False


def test_a_negative_limit_disables_the_pool() -> None:
    assert loaded({"name": "h1", "labels": "a"}, **{"max-servers": -1}).settings().pools["main"].disabled


def test_attributes_are_kept_as_a_record_would_give_them_back() -> None:
    config = loaded({"name": "h1", "labels": "a"}, **{"node-attributes": {1: datetime.date(2024, 5, 6)}})
    assert config.hosts[0].attributes == {"1": "2024-05-06"}


def test_equal_text_makes_equal_configurations() -> None:
    assert loaded({"name": "h1", "labels": "a"}) == loaded({"name": "h1", "labels": "a"})
    assert loaded({"name": "h1", "labels": "a"}) != loaded({"name": "h2", "labels": "a"})


def test_the_same_host_in_another_provider_is_found() -> None:
    rack = loaded({"name": "h1", "labels": "a"})
    shelf = loaded({"name": "h1", "labels": "a"}, name="other")
    shelf.name = "shelf"
    top = SimpleNamespace(labels=TOP.labels, providers={"rack": rack})
    (problem,) = shelf.checkReferences(top)
    assert isinstance(problem, ReferenceProblem)
    assert problem.path == ("pools", 0, "nodes", 0, "name")


def test_a_configuration_may_be_made_of_anything_before_it_is_checked() -> None:
    get_driver("static").getProviderConfig({"max-concurrency": "x", "priority": [], "pools": 7})
