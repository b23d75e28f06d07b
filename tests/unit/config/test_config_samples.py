"""The samples in etc/ and the examples that a successor of Nodepool 11 must load unchanged (spec config 15)."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodepool.config.load import load, validate
from tests.unit.config.reading import Files, lines

ETC = Path(__file__).parents[3] / "etc"

STATIC = """
# minimal: one static host
zookeeper-servers: [{host: zk1.example.org}]
zookeeper-tls: {cert: /etc/nodepool/client.pem, key: /etc/nodepool/client.key, ca: /etc/nodepool/ca.pem}
labels: [{name: bare, min-ready: 1}]
providers:
  - name: rack
    driver: static
    pools:
      - name: main
        nodes: [{name: host1.example.org, labels: [bare], username: ci}]
"""

OPENSTACK = """
# one image with a template, one OpenStack provider, substitution, limits
images-dir: /srv/images
elements-dir: /etc/nodepool/elements
webapp:
  port: %(NODEPOOL_PORT)      # replaced before parsing, so it must not be quoted to stay an int
diskimages:
  - {name: common, abstract: true, elements: [vm, growroot], env-vars: {DIB_IMAGE_CACHE: /srv/cache}}
  - {name: deb12, parent: common, elements: [debian-minimal], release: bookworm}
labels:
  - {name: deb12, min-ready: 2, max-ready-age: 3600}
providers:
  - name: cloud-a
    cloud: cloud-a
    diskimages: [{name: deb12, meta: {hw_disk_bus: virtio}}]
    pools:
      - name: main
        max-servers: 20
        labels: [{name: deb12, diskimage: deb12, min-ram: 4096, flavor-name: ci, console-log: true}]
tenant-resource-limits:
  - {tenant-name: team-a, max-servers: 10, max-cores: 40, max-ram: 81920}
"""


@pytest.mark.parametrize("name", ["nodepool.yaml", "fake.yaml", "lab.yaml", "openstack.yaml"])
def test_samples_have_no_problem(name: str) -> None:
    environment = {"NODEPOOL_ZOOKEEPER_PORT": "2181"}
    assert validate(ETC / name, environ=environment) == []
    config = load(ETC / name, environ=environment)
    assert config.warnings == ()
    assert {label for provider in config.providers.values() for label in provider.getSupportedLabels()} == set(
        config.labels
    )


def test_the_static_example_loads(files: Files) -> None:
    files.write(STATIC)
    assert validate(files.main, environ={}) == []
    config = load(files.main, environ={})
    assert config.zookeeper.connect_string == "zk1.example.org:2281"
    assert config.providers["rack"].getSupportedLabels() == {"bare"}
    assert config.labels["bare"].min_ready == 1


def test_the_openstack_example_loads(files: Files) -> None:
    files.write(OPENSTACK)
    config = load(files.main, environ={"NODEPOOL_PORT": "8006"})
    provider = config.providers["cloud-a"]
    assert provider.driver.name == "openstack"
    assert provider.getSupportedLabels() == {"deb12"}
    assert provider.settings().pools["main"].labels["deb12"].console_log


def test_the_openstack_example_says_when_its_variable_is_missing(files: Files) -> None:
    files.write(OPENSTACK)
    assert lines(validate(files.main, environ={})) == [
        "nodepool.yaml:6: the environment variable NODEPOOL_PORT is not set, and what stands for it is not valid YAML "
        "(set it)"
    ]


def test_problems_of_a_built_in_driver_are_located(files: Files) -> None:
    files.write("""
        labels: [{name: bare}]
        providers:
          - name: rack
            driver: static
            pools:
              - name: main
                max-servers: true
                nodes:
                  - name: host1
                    labels: [bare, bear]
                  - {name: host1, labels: bare}
              - name: other
                max-servers: many
                nodes:
                  - {name: host2, labels: [bare], timeout: 0, username: 5}
          - {name: fake-cloud, fake: {faults: {boot-error: 5}}}
    """)
    assert lines(validate(files.main, environ={})) == [
        "warning: nodepool.yaml:8: providers[0].pools[0].max-servers: true counts as 1 here (write a number)",
        "nodepool.yaml:14: providers[0].pools[1].max-servers: expected a whole number, got 'many'",
        "nodepool.yaml:16: providers[0].pools[1].nodes[0].timeout: expected a number of seconds, 1 or more, got 0",
        "nodepool.yaml:16: providers[0].pools[1].nodes[0].username: expected text, got 5 (put it in quotes)",
        "nodepool.yaml:17: providers[1].fake.faults.boot-error: expected a probability, from 0 to 1, got 5",
        "nodepool.yaml:17: providers[1].pools: this key is required and missing",
    ]


def test_references_of_a_built_in_driver_are_located(files: Files) -> None:
    files.write("""
        labels: [{name: bare}]
        providers:
          - name: rack
            driver: static
            pools:
              - name: main
                nodes:
                  - name: host1
                    labels: [bare, bear]
          - name: cellar
            driver: static
            pools:
              - name: main
                nodes:
                  - {name: host1, labels: bear}
    """)
    assert lines(validate(files.main, environ={})) == [
        "nodepool.yaml:10: providers[0].pools[0].nodes[0].labels[1]: the label 'bear' is not in the top-level labels: "
        "add it there, or correct the name",
        "nodepool.yaml:16: providers[1].pools[0].nodes[0].labels: the label 'bear' is not in the top-level labels: "
        "add it there, or correct the name",
    ]
