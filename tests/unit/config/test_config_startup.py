"""What a daemon must have besides a valid file (spec config 4, zookeeper-tls)."""

from __future__ import annotations

from pathlib import Path

from nodepool.config.settings import Config, TLSSettings, ZooKeeperSettings
from nodepool.config.startup import check_startup, check_tls_files

PEM = "-----BEGIN CERTIFICATE-----\n"


def test_tls_files_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "pem").write_text(PEM)
    pem = str(tmp_path / "pem")
    assert check_tls_files(TLSSettings(pem, pem, pem), "nodepool.yaml") == []


def test_tls_files_that_cannot(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    tls = TLSSettings(cert=f"{tmp_path}/gone", key=f"{tmp_path}/empty", ca=str(tmp_path))
    assert [str(problem) for problem in check_tls_files(tls, "nodepool.yaml")] == [
        f"nodepool.yaml: zookeeper-tls.cert: {tmp_path}/gone cannot be read: No such file or directory",
        f"nodepool.yaml: zookeeper-tls.key: {tmp_path}/empty is not a PEM file (it has no '-----BEGIN' line)",
        f"nodepool.yaml: zookeeper-tls.ca: {tmp_path} cannot be read: Is a directory",
    ]


def test_servers_are_needed() -> None:
    assert [str(problem) for problem in check_startup(Config(), "n.yaml")] == [
        "n.yaml: zookeeper-servers: no ZooKeeper servers are given "
        "(write '- host: NAME' below this key, here or in the secure file)"
    ]
    assert check_startup(Config(zookeeper=ZooKeeperSettings(servers=(("a", 1),))), "n.yaml") == []


def test_the_builder_needs_a_directory() -> None:
    config = Config(zookeeper=ZooKeeperSettings(servers=(("a", 1),)))
    assert [str(problem) for problem in check_startup(config, "n.yaml", builder=True)] == [
        "n.yaml: images-dir: the builder needs this key: the directory where image files are written"
    ]


def test_tls_files_are_checked_too() -> None:
    tls = TLSSettings("/nowhere/c", "/nowhere/k", "/nowhere/a")
    config = Config(zookeeper=ZooKeeperSettings(servers=(("a", 1),), tls=tls))
    assert len(check_startup(config, "n.yaml")) == 3
