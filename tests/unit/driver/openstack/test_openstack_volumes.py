"""Volumes that servers booted from: which of them are leftovers."""

from __future__ import annotations

from typing import Any

from nodepool.driver.adapter import PROVIDER_TAG, Leftover
from nodepool.driver.openstack.volumes import SIGHTING_AGE, VOLUMES, BootVolumes


def server(*volumes: str, provider: str = "ours", goes_with_it: bool = True) -> dict[str, Any]:
    attached = [{"id": volume, "delete_on_termination": goes_with_it} for volume in volumes]
    return {"id": "s", "metadata": {PROVIDER_TAG: provider}, "os-extended-volumes:volumes_attached": attached}


def volume(volume_id: str, status: str = "available", attachments: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"id": volume_id, "status": status, "attachments": list(attachments)}


def test_a_volume_that_outlives_its_server_is_a_leftover() -> None:
    volumes = BootVolumes("ours")
    volumes.listed(server("a", "b", "c"))
    listed = [volume("a"), volume("b", "in-use", ("s",)), volume("c", "deleting"), volume("stranger")]
    assert list(volumes.leftovers(listed)) == [Leftover(VOLUMES, "a", SIGHTING_AGE)]


def test_volumes_of_others_and_those_that_outlive_servers_on_purpose_are_left_alone() -> None:
    volumes = BootVolumes("ours")
    volumes.listed(server("a", provider="theirs"))
    volumes.listed(server("b", goes_with_it=False))
    assert not volumes.any
    assert list(volumes.leftovers([volume("a"), volume("b")])) == []


def test_what_is_gone_is_forgotten() -> None:
    volumes = BootVolumes("ours")
    volumes.listed(server("a"))
    assert volumes.any
    assert list(volumes.leftovers([])) == []
    assert not volumes.any
