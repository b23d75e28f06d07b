"""Real virtual machines: the launcher boots them, learns their host keys, logs in to check them, and is killed
meanwhile.

The guest is a kernel with busybox and an SSH server, which takes its address and our key from the config drive.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.real_openstack import DIRECTORY, PATIENCE, RealCloud, call, eventually, pool, provider
from tests.real_site import RealSite
from tests.requestor import Record, zuul

KEY_PAIR = "nodepool-test"
BOOT_DELAY = 6


@dataclass(frozen=True)
class Guest:
    """What its virtual machines need: an image in the cloud, and our private key."""

    image: str
    key_file: Path


@pytest.fixture(scope="module")
def host(real_cloud: RealCloud) -> Iterator[RealCloud]:
    """The host of virtual machines, stopped at the end if it did not run before."""
    ran = "nova-vm: runs" in call("status", check=False).stdout
    call("vm-start", seconds=600.0)
    yield real_cloud
    if not ran:
        call("vm-stop")


@pytest.fixture
def guest(host: RealCloud, cloud: RealCloud, tmp_path: Path) -> Iterator[Guest]:
    """An image that boots, and a key pair."""
    assert host is cloud
    directory = DIRECTORY / "guest"
    call("vm-guest", seconds=600.0)
    kernel = upload(cloud, directory / "vmlinuz", "aki")
    initrd = upload(cloud, directory / "initrd.gz", "ari")
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(1 << 20)
    upload(cloud, disk, "raw", "bare", kernel_id=kernel, ramdisk_id=initrd)
    key_file = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key_file], check=True)
    compute = cloud.user.compute
    compute.delete_keypair(KEY_PAIR)
    compute.create_keypair(name=KEY_PAIR, public_key=key_file.with_suffix(".pub").read_text(encoding="ascii"))
    yield Guest(disk.name, key_file)
    compute.delete_keypair(KEY_PAIR)


def upload(cloud: RealCloud, path: Path, disk_format: str, container: str = "", **properties: str) -> str:
    """Upload an image named as its file; returns its id."""
    image = cloud.user.create_image(
        path.name,
        filename=str(path),
        disk_format=disk_format,
        container_format=container or disk_format,
        wait=True,
        **properties,
    )
    return str(image.id)


def machines(guest: Guest) -> dict[str, Any]:
    """A provider whose servers are virtual machines; two labels, one of them long active before it can be reached."""
    check = {"commands": ["test -s /root/.ssh/authorized_keys", "hostname"], "key-file": str(guest.key_file)}
    common = {"cloud-image": guest.image, "key-name": KEY_PAIR, "host-key-checking": True, "ready-check": check}
    delay = {"instance-properties": {"boot-delay": str(BOOT_DELAY)}}
    place = pool(
        {"name": "vm", **common}, {"name": "late", **common, **delay}, networks=["vm"], availability_zones=["az-vm"]
    )
    images = [{"name": guest.image, "username": "root", "config-drive": True}]
    return provider(pools=[place]) | {"cloud-images": images, "boot-timeout": 120}


def log_in(guest: Guest, node: Record, command: str, directory: Path) -> str:
    """What a command on a node prints; OpenSSH trusts nothing but the host keys of the node's record."""
    address = node["interface_ip"]
    known_hosts = directory / "known_hosts"
    known_hosts.write_text("".join(f"{address} {key}\n" for key in node["host_keys"]), encoding="ascii")
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": "30",
        "IdentityFile": str(guest.key_file),
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(known_hosts),
    }
    given = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    target = f"{node['username']}@{address}"
    return subprocess.run(["ssh", *given, target, command], capture_output=True, text=True, check=True).stdout


def test_virtual_machines_boot_answer_and_go(site: RealSite, guest: Guest, tmp_path: Path) -> None:
    launcher = site.launcher(providers=[machines(guest)], labels=["vm", "late"])
    with launcher, zuul(site.place) as client:
        late = client.submit("late")
        (node_id,) = client.accept(client.submit("vm"), PATIENCE)
        node = client.nodes[node_id]
        assert [key.split()[0] for key in node["host_keys"]] == ["ssh-ed25519", "ssh-rsa"]
        assert (node["az"], node["connection_port"], node["username"]) == ("az-vm", 22, "root")
        assert log_in(guest, node, "hostname", tmp_path).startswith(f"np{node_id}")
        eventually(lambda: "ACTIVE" in {server.status for server in site.by_node().values()})
        launcher.kill()
        launcher.start()
        client.use(node_id)
        client.give_back(node_id)
        (late_node,) = client.accept(late, PATIENCE)
        assert log_in(guest, client.nodes[late_node], "cat /proc/uptime", tmp_path)
        client.use(late_node)
        client.give_back(late_node)
        site.wait_empty()


def test_a_machine_that_cannot_be_reached_shows_its_console(site: RealSite, guest: Guest) -> None:
    entry = machines(guest) | {"boot-timeout": 15, "launch-retries": 1}
    entry["cloud-images"][0]["connection-port"] = 2222
    for label in entry["pools"][0]["labels"]:
        label["console-log"] = True
    launcher = site.launcher(providers=[entry], labels=["vm", "late"])
    with launcher, zuul(site.place) as client:
        request = client.submit("vm")
        assert client.wait_done(request, PATIENCE)["state"] == "failed"
        client.delete_request(request)
        eventually(lambda: "Run /init as init process" in launcher.log)
        site.wait_empty()
