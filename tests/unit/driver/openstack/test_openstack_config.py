"""What the OpenStack driver makes of its part of nodepool.yaml."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import voluptuous as v

from nodepool.driver.adapter import LabelSettings
from nodepool.driver.openstack.config import CloudImage, OpenStackProviderConfig, ServerSettings
from nodepool.driver.openstack.driver import OpenStackDriver
from nodepool.model.resources import Resources

BUILT = SimpleNamespace(username="zuul", python_path="auto", shell_type=None)
TOP = SimpleNamespace(labels={"a": None, "b": None}, diskimages={"deb": BUILT}, providers={})

EVERYTHING: dict[str, Any] = {
    "name": "prov",
    "driver": "openstack",
    "cloud": "my-cloud",
    "region-name": "west",
    "rate": 0.5,
    "priority": 50,
    "max-concurrency": 10,
    "boot-timeout": 120,
    "launch-timeout": 600,
    "launch-retries": 5,
    "image-upload-timeout": 7200,
    "image-name-format": "{image_name}-{upload_id}",
    "post-upload-hook": "/usr/bin/hook",
    "post-upload-hook-timeout": 60,
    "clean-floating-ips": True,
    "port-cleanup-interval": 0,
    "nodepool-id": "x",
    "diskimages": [{"name": "deb", "pause": True, "config-drive": True, "meta": {"hw_disk_bus": "virtio"}}],
    "cloud-images": [
        {
            "name": "win",
            "image-id": "i-1",
            "username": "administrator",
            "python-path": "/usr/bin/python3",
            "shell-type": "cmd",
            "connection-type": "winrm",
            "config-drive": False,
        },
        {"name": "ubuntu", "image-name": "Ubuntu 24.04", "connection-port": 2222},
        {"name": "plain"},
    ],
    "pools": [
        {
            "name": "main",
            "priority": 5,
            "node-attributes": {"k": "v"},
            "max-servers": 10,
            "max-cores": 20,
            "max-ram": 4096,
            "max-volumes": 3,
            "max-volume-gb": 300,
            "ignore-provider-quota": True,
            "availability-zones": ["az1", "az2"],
            "networks": ["net", 5],
            "security-groups": ["ssh"],
            "auto-floating-ip": False,
            "use-internal-ip": True,
            "host-key-checking": False,
            "labels": [
                {
                    "name": "a",
                    "diskimage": "deb",
                    "min-ram": 4096,
                    "flavor-name": "ci",
                    "boot-from-volume": True,
                    "volume-size": 80,
                    "key-name": "key",
                    "console-log": True,
                    "instance-properties": {"team": "infra", "count": 3, "flag": True},
                    "dynamic-instance-properties": {"who": "{request.requestor}"},
                    "userdata": "#cloud-config\n",
                    "networks": ["other"],
                    "host-key-checking": True,
                },
                {"name": "b", "cloud-image": "win", "flavor-name": 42},
            ],
        }
    ],
}


def config(entry: dict[str, Any], load: bool = True) -> OpenStackProviderConfig:
    made = OpenStackDriver().getProviderConfig(entry)
    made.getSchema()(copy.deepcopy(entry))
    if load:
        made.load(TOP)
    return made


def least(**label: Any) -> dict[str, Any]:
    chosen = {"name": "a", "diskimage": "deb", "min-ram": 1024} | label
    return {
        "name": "prov",
        "cloud": "c",
        "diskimages": [{"name": "deb"}],
        "cloud-images": [{"name": "img"}],
        "pools": [{"name": "main", "labels": [{key: value for key, value in chosen.items() if value is not None}]}],
    }


def problems(entry: dict[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
    return [(problem.path, problem.message) for problem in config(entry, load=False).checkReferences(TOP)]


def test_the_defaults_are_those_of_nodepool_11() -> None:
    made = config(least())
    assert (made.cloud, made.region_name, made.rate) == ("c", None, 1.0)
    images = made.image_settings()
    assert (images.upload_timeout, images.name_format) == (3600.0, "{image_name}-{timestamp}")
    assert (images.post_upload_hook, images.hook_timeout) == (None, 3600.0)
    assert (made.clean_floating_ips, made.port_cleanup_interval) == (False, 600.0)
    assert made.manage_images
    settings = made.settings()
    assert (settings.boot_timeout, settings.launch_timeout, settings.launch_retries) == (60.0, 3600.0, 3)
    assert settings.max_concurrency is None
    pool = made.pools["main"]
    assert (pool.auto_floating_ip, pool.availability_zones, pool.priority) == (True, (), 100)
    assert settings.pools["main"].limits == Resources.limit({})
    assert settings.pools["main"].ignore_provider_quota is False
    assert pool.labels["a"].server == ServerSettings("deb", min_ram=1024)
    assert settings.pools["main"].labels["a"] == LabelSettings("a", diskimage="deb", username="zuul")


def test_everything_is_read() -> None:
    made = config(EVERYTHING)
    assert (made.cloud, made.region_name, made.rate) == ("my-cloud", "west", 0.5)
    images = made.image_settings()
    assert (images.upload_timeout, images.name_format) == (7200.0, "{image_name}-{upload_id}")
    assert (images.post_upload_hook, images.hook_timeout) == ("/usr/bin/hook", 60.0)
    assert (made.clean_floating_ips, made.port_cleanup_interval) == (True, 0.0)
    settings = made.settings()
    assert (settings.boot_timeout, settings.launch_timeout, settings.launch_retries) == (120.0, 600.0, 5)
    assert settings.max_concurrency == 10
    pool = settings.pools["main"]
    assert (pool.priority, pool.node_attributes, pool.ignore_provider_quota) == (5, {"k": "v"}, True)
    assert pool.availability_zones == ("az1", "az2")
    limits = {"instances": 10, "cores": 20, "ram": 4096, "volumes": 3, "volume-gb": 300}
    assert pool.limits == Resources.limit(limits)
    assert made.pools["main"].auto_floating_ip is False


def test_a_label_with_everything() -> None:
    label = config(EVERYTHING).pools["main"].labels["a"]
    assert label.server == ServerSettings(
        "deb",
        min_ram=4096,
        flavor_name="ci",
        volume_size=80,
        key_name="key",
        userdata="#cloud-config\n",
        config_drive=True,
        networks=("other",),
        security_groups=("ssh",),
        properties={"team": "infra", "count": "3", "flag": "True"},
        dynamic_properties={"who": "{request.requestor}"},
    )
    assert label.settings == LabelSettings(
        "a", diskimage="deb", username="zuul", use_internal_ip=True, console_log=True, host_key_checking=True
    )


def test_a_label_with_a_cloud_image() -> None:
    label = config(EVERYTHING).pools["main"].labels["b"]
    assert label.server == ServerSettings(
        "win",
        cloud_image=CloudImage("win", id="i-1"),
        flavor_name="42",
        config_drive=False,
        networks=("net", "5"),
        security_groups=("ssh",),
    )
    assert label.settings == LabelSettings(
        "b",
        cloud_image="win",
        username="administrator",
        connection_type="winrm",
        connection_port=5986,
        python_path="/usr/bin/python3",
        shell_type="cmd",
        host_key_checking=False,
        use_internal_ip=True,
    )


@pytest.mark.parametrize(
    ("entry", "image"),
    [
        ({"name": "img"}, CloudImage("img", name="img")),
        ({"name": "img", "image-name": "Debian 12"}, CloudImage("img", name="Debian 12")),
        ({"name": "img", "image-id": 7}, CloudImage("img", id="7")),
    ],
)
def test_a_cloud_image_is_found_by_id_by_name_or_by_its_entry(entry: dict[str, Any], image: CloudImage) -> None:
    provider = least(diskimage=None, **{"cloud-image": "img"}) | {"cloud-images": [entry]}
    assert config(provider).pools["main"].labels["a"].server.cloud_image == image


def test_a_volume_has_50_gb_unless_told_otherwise() -> None:
    assert config(least(**{"boot-from-volume": True})).pools["main"].labels["a"].server.volume_size == 50
    assert config(least(**{"volume-size": 80})).pools["main"].labels["a"].server.volume_size is None


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"rate": -1}, ["rate"]),
        ({"rate": "fast"}, ["rate"]),
        ({"cloud": None}, ["cloud"]),
        ({"launch-retries": 1.5}, ["launch-retries"]),
        ({"image-name-format": "{name}"}, ["image-name-format"]),
        ({"image-name-format": "{image_name"}, ["image-name-format"]),
        ({"clean-floating-ips": "yes"}, ["clean-floating-ips"]),
        ({"diskimages": None}, ["diskimages"]),
        ({"unknown": 1}, ["unknown"]),
    ],
)
def test_a_wrong_value_of_a_provider_is_refused_where_it_stands(change: dict[str, Any], path: list[Any]) -> None:
    with pytest.raises(v.MultipleInvalid) as caught:
        config(least() | change)
    assert [error.path for error in caught.value.errors] == [path]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"min-ram": -1}, ["min-ram"]),
        ({"min-ram": "8G"}, ["min-ram"]),
        ({"userdata": {"a": 1}}, ["userdata"]),
        ({"networks": "net"}, ["networks"]),
        ({"instance-properties": {"k": ["list"]}}, ["instance-properties", "k"]),
        ({"instance-properties": {"k": "v" * 256}}, ["instance-properties", "k"]),
        ({"dynamic-instance-properties": {"k": 5}}, ["dynamic-instance-properties", "k"]),
        ({"flavour-name": "x"}, ["flavour-name"]),
    ],
)
def test_a_wrong_value_of_a_label_is_refused_where_it_stands(change: dict[str, Any], path: list[Any]) -> None:
    with pytest.raises(v.MultipleInvalid) as caught:
        config(least(**change))
    assert [error.path for error in caught.value.errors] == [["pools", 0, "labels", 0, *path]]


def test_a_correct_provider_has_no_problems() -> None:
    assert problems(EVERYTHING) == []
    assert problems(least()) == []


def test_every_name_that_leads_nowhere_is_reported() -> None:
    entry = least(name="c", diskimage="fedora") | {"diskimages": [{"name": "deb"}, {"name": "suse"}]}
    label = ("pools", 0, "labels", 0)
    assert problems(entry) == [
        ((*label, "name"), "the label 'c' is not in the top-level labels: add it there, or correct the name"),
        (("diskimages", 1, "name"), "the diskimage 'suse' is not in the top-level diskimages: add it there"),
        ((*label, "diskimage"), "there is no 'fedora' in the diskimages of this provider: add it there"),
    ]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({"diskimage": None}, "a label needs one of diskimage and cloud-image, and this one has none"),
        ({"cloud-image": "img"}, "a label needs one of diskimage and cloud-image, and this one has both"),
        ({"min-ram": None}, "a label needs min-ram, flavor-name or both, and this one has none"),
    ],
)
def test_a_label_needs_one_image_and_a_flavor(label: dict[str, Any], message: str) -> None:
    assert problems(least(**label)) == [(("pools", 0, "labels", 0), message)]


def test_entries_that_stand_twice_are_reported() -> None:
    entry = least()
    entry["cloud-images"].append({"name": "img"})
    entry["pools"][0]["labels"].append(dict(entry["pools"][0]["labels"][0]))
    assert problems(entry) == [
        (
            ("cloud-images", 1, "name"),
            "the cloud-image 'img' stands here a second time; only the last one counts: remove one",
        ),
        (
            ("pools", 0, "labels", 1, "name"),
            "the label 'a' stands here a second time; only the last one counts: remove one",
        ),
    ]


def test_another_login_of_a_disk_image_makes_another_provider() -> None:
    one, same, other = config(least()), config(least()), config(least(), load=False)
    changed = SimpleNamespace(username="debian", python_path="auto", shell_type=None)
    other.load(SimpleNamespace(labels={}, diskimages={"deb": changed}, providers={}))
    assert one.driver is not same.driver
    assert one == same
    assert one != other


def test_a_provider_without_pools_is_one() -> None:
    assert config({"name": "p", "cloud": "c"}).pools == {}
