"""What a good file becomes: defaults, images with parents, ZooKeeper, limits (spec config 4 to 6, 10, 14)."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from nodepool.config.settings import (
    DiskImage,
    Label,
    TLSSettings,
    WebappSettings,
    WebTLSSettings,
    ZooKeeperSettings,
)
from tests.unit.config.reading import Files, lines


def test_defaults(files: Files) -> None:
    files.write("providers: []\n")
    config = files.load()
    assert config.webapp == WebappSettings(port=8005, listen_address="0.0.0.0")
    assert (config.elements_dir, config.images_dir) == (None, None)
    assert (config.images_min_free_space, config.images_max_space) == (5 << 30, 0)
    assert (config.build_log_dir, config.build_log_retention) == ("/var/log/nodepool/builds", 7)
    assert config.zookeeper == ZooKeeperSettings(servers=(), chroot="", tls=None, timeout=10.0)
    assert config.max_hold_age == 0
    assert [*config.labels, *config.diskimages, *config.providers, *config.tenant_limits, *config.warnings] == []


def test_everything_given(files: Files) -> None:
    files.write("""
        webapp: {port: 0, listen_address: '::1'}
        elements-dir: /a:/b
        images-dir: /images
        images-min-free-space: 0.5
        images-max-space: 200
        build-log-dir: /logs
        build-log-retention: -1
        zookeeper-timeout: 30
        max-hold-age: 60
    """)
    config = files.load()
    assert config.webapp == WebappSettings(0, "::1")
    assert (config.elements_dir, config.images_dir) == ("/a:/b", "/images")
    assert (config.images_min_free_space, config.images_max_space) == (1 << 29, 200 << 30)
    assert (config.build_log_dir, config.build_log_retention) == ("/logs", -1)
    assert config.zookeeper.timeout == 30.0
    assert isinstance(config.zookeeper.timeout, float)
    assert config.max_hold_age == 60


def test_retention_of_0_is_kept(files: Files) -> None:
    files.write("build-log-retention: 0\nmax-hold-age: -5\n")
    config = files.load()
    assert (config.build_log_retention, config.max_hold_age) == (0, 0)


def test_the_web_servers(files: Files) -> None:
    files.write("""
        webapp:
          builder-port: 8006
          tls: {cert: /etc/nodepool/web.pem, key: /etc/nodepool/web.key}
          token-file: /etc/nodepool/web-token
    """)
    tls = WebTLSSettings("/etc/nodepool/web.pem", "/etc/nodepool/web.key")
    expected = WebappSettings(builder_port=8006, tls=tls, token_file="/etc/nodepool/web-token")
    assert files.load().webapp == expected


def test_no_free_space_need_be_asked_for(files: Files) -> None:
    files.write("images-min-free-space: 0\n")
    assert files.load().images_min_free_space == 0


def test_a_configuration_cannot_be_changed(files: Files) -> None:
    files.write("labels: [{name: a}]\ndiskimages: [{name: i, env-vars: {A: b}}]\n")
    config = files.load()
    changes: list[tuple[Any, str]] = [(config.labels, "b"), (config.diskimages, "b")]
    changes += [(config.diskimages["i"].env_vars, "A"), (config.diskimages["i"].metadata, "A")]
    for mapping, key in changes:
        with pytest.raises(TypeError):
            mapping[key] = "x"
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.images_dir = "/x"  # type: ignore[misc]


def test_labels(files: Files) -> None:
    files.write(
        """
        labels:
          - name: a
          - {name: b, min-ready: 2, max-ready-age: 3600}
          - {name: off, min-ready: -1, max-ready-age: -5}
    """.replace("off", "switched-off")
    )
    labels = files.load().labels
    assert list(labels.values()) == [Label("a"), Label("b", 2, 3600), Label("switched-off", -1, 0)]
    assert [label.enabled for label in labels.values()] == [True, True, False]


def test_tenant_limits_have_the_names_of_resources(files: Files) -> None:
    files.write("""
        tenant-resource-limits:
          - {tenant-name: a, max-servers: 1, max-cores: 2, max-ram: 3, max-volumes: 4, max-volume-gb: 5, L-1: 6, gpu: 0}
          - {tenant-name: b}
    """)
    limits = files.load().tenant_limits
    assert dict(limits["a"]) == {
        "instances": 1, "cores": 2, "ram": 3, "volumes": 4, "volume-gb": 5, "L-1": 6, "gpu": 0
    }  # fmt: skip
    assert dict(limits["b"]) == {}


@pytest.mark.parametrize(
    ("servers", "expected"),
    [
        ("[{host: zk1}]", "zk1:2281"),
        ("[{host: zk1, port: 2181}, {host: 10.0.0.1}]", "zk1:2181,10.0.0.1:2281"),
        ("[{host: '2001:db8::1'}, {host: '[::1]', port: 1}]", "[2001:db8::1]:2281,[::1]:1"),
        ("[{host: a, chroot: /ci}, {host: b, chroot: /ci/}]", "a:2281,b:2281/ci"),
        ("[{host: a}, {host: b, chroot: ci/x}]", "a:2281,b:2281/ci/x"),
        ("[{host: a, chroot: /ci}, {host: b}]", "a:2281,b:2281/ci"),
        ("[{host: a, chroot: /}]", "a:2281"),
        ("[{host: a, chroot: ''}]", "a:2281"),
        ("[]", ""),
    ],
)
def test_connect_string(files: Files, servers: str, expected: str) -> None:
    files.write(f"zookeeper-servers: {servers}\n")
    assert files.load().zookeeper.connect_string == expected


def test_tls(files: Files) -> None:
    files.write("zookeeper-servers: [{host: a}]\nzookeeper-tls: {cert: c, key: k, ca: a}\n")
    config = files.load()
    assert config.zookeeper.tls == TLSSettings(cert="c", key="k", ca="a")
    assert config.warnings == ()


def test_a_plain_connection_is_warned_of_unless_it_stays_on_the_machine(files: Files) -> None:
    files.write("zookeeper-servers: [{host: zk1}]\n")
    assert len(files.load().warnings) == 1
    files.write("zookeeper-servers: [{host: localhost}, {host: 127.0.0.2}, {host: '::1'}]\n")
    assert files.load().warnings == ()


def images(files: Files, text: str) -> dict[str, DiskImage]:
    files.write("diskimages:\n" + text)
    return dict(files.load().diskimages)


def test_image_defaults(files: Files) -> None:
    assert images(files, "- name: a\n") == {"a": DiskImage("a")}
    image = DiskImage("a")
    assert (image.rebuild_age, image.build_timeout) == (86400, 28800)
    assert (image.username, image.python_path, image.shell_type) == ("zuul", "auto", None)
    assert image.dib_cmd == "disk-image-create"


def test_an_image_inherits_along_the_chain(files: Files) -> None:
    found = images(
        files,
        """
- {name: child, parent: middle, elements: [c], env-vars: {X: c}, metadata: {m: c}, release: 12, username: c}
- {name: root, abstract: true, elements: [r], env-vars: {X: r, Y: r}, metadata: {m: r, n: r}, formats: [raw],
   keep-formats: [raw], delete-after-upload: true, rebuild-age: 5, build-timeout: 6, release: r, pause: true,
   username: r, python-path: /r, shell-type: csh, dib-cmd: r}
- {name: middle, parent: root, elements: [m], formats: [], keep-formats: [qcow2], delete-after-upload: false,
   rebuild-age: 0, build-timeout: 0, release: '', pause: false, python-path: '', dib-cmd: m}
""",
    )
    assert list(found) == ["child", "middle"]
    child = found["child"]
    assert child.elements == ("r", "m", "c")
    assert dict(child.env_vars) == {"X": "c", "Y": "r"}
    assert dict(child.metadata) == {"m": "c", "n": "r"}
    assert (child.formats, child.keep_formats) == (("raw",), ("qcow2",))
    assert (child.delete_after_upload, child.pause) == (False, False)
    assert (child.rebuild_age, child.build_timeout, child.release) == (5, 6, "12")
    assert (child.username, child.python_path, child.shell_type, child.dib_cmd) == ("c", "/r", "csh", "m")


def test_abstract_is_not_inherited_and_an_image_may_be_a_parent(files: Files) -> None:
    assert list(images(files, "- {name: a, abstract: true}\n- {name: b, parent: a}\n- {name: c, parent: b}\n")) == [
        "b",
        "c",
    ]


def test_metadata_without_an_own_value_is_the_parents(files: Files) -> None:
    found = images(files, "- {name: a, metadata: {k: v}}\n- {name: b, parent: a}\n")
    assert dict(found["b"].metadata) == {"k": "v"}


def test_wrong_but_tolerated_values_are_used_by_daemons(files: Files) -> None:
    files.write("diskimages:\n- {name: a, release: 9.5, parent: , colour: red}\n- {name: a, release: 10}\n")
    config = files.load()
    assert config.diskimages["a"].release == "10"
    assert [line.partition(": diskimages")[0] for line in lines(config.warnings)] == [
        "warning: nodepool.yaml:2"
    ] * 3 + ["warning: nodepool.yaml:3"]
    files.write("diskimages:\n- {name: a, release: 9.5}\n")
    assert files.load().diskimages["a"].release == "9.5"
