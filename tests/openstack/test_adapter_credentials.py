"""The OpenStack driver on a real cloud: credentials, good and bad, and labels that the cloud cannot serve."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from nodepool.driver.errors import BadLabel, CloudError, Misconfigured, NoCapacity, Unauthorized
from nodepool.driver.openstack.live_catalogue import LiveCatalogue
from nodepool.model.resources import Resources
from tests.openstack_bench import DEADLINE, AdapterBench
from tests.real_openstack import CLOUDS_YAML, OF_A_TEST, RealCloud, bench, eventually, pool, provider

NOBODY = "7f9b0b6c-0000-0000-0000-000000000000"
TINY = Resources(instances=1, cores=1, ram=256)


def member() -> dict[str, Any]:
    """The entry of an ordinary member in clouds.yaml."""
    document = yaml.safe_load(CLOUDS_YAML.read_text(encoding="utf-8"))
    entry: dict[str, Any] = document["clouds"]["nodepool"]
    return entry


def write(directory: Path, entry: dict[str, Any]) -> Path:
    path = directory / "clouds.yaml"
    path.write_text(yaml.safe_dump({"clouds": {"nodepool": entry}}), encoding="utf-8")
    return path


@pytest.fixture
def application(cloud: RealCloud) -> Iterator[Any]:
    """An application credential of the member: what a site gives Nodepool instead of a password."""
    user_id = cloud.user.current_user_id
    made = cloud.user.identity.create_application_credential(user_id, "nodepool-test")
    yield made
    cloud.user.identity.delete_application_credential(user_id, made.id, ignore_missing=True)


def by_application(application: Any) -> dict[str, Any]:
    auth = {
        "auth_url": member()["auth"]["auth_url"],
        "application_credential_id": application.id,
        "application_credential_secret": application.secret,
    }
    return {"region_name": "RegionOne", "auth_type": "v3applicationcredential", "auth": auth}


def test_an_application_credential_is_enough(cloud: RealCloud, application: Any, tmp_path: Path) -> None:
    entry = provider(pools=[pool({"name": "small"}, auto_floating_ip=True)])
    with bench(entry, write(tmp_path, by_application(application))) as prov:
        external_id = prov.create(az="az1")
        finished = prov.adapter.finish_server("main", prov.active(external_id), DEADLINE)
        assert finished.public_ipv4
        assert prov.adapter.limits(DEADLINE)["instances"] == 200
        assert prov.adapter.leftovers(DEADLINE) == []
        prov.adapter.delete_server(external_id, DEADLINE)
        prov.gone(external_id)
        eventually(lambda: cloud.remains() == [])


def test_a_credential_that_is_withdrawn_and_renewed(cloud: RealCloud, application: Any, tmp_path: Path) -> None:
    path = write(tmp_path, by_application(application))
    with bench(provider(), path) as prov:
        prov.adapter.list_servers(DEADLINE)
        cloud.user.identity.delete_application_credential(cloud.user.current_user_id, application.id)
        # The services remember for some seconds which tokens were good.
        eventually(lambda: _is_unauthorized(prov))
        with pytest.raises(Unauthorized):
            prov.create(az="az1")
        write(tmp_path, member())
        assert prov.active(prov.create(az="az1")).resources == TINY


def _is_unauthorized(prov: AdapterBench) -> bool:
    try:
        prov.adapter.list_servers(DEADLINE)
    except Unauthorized:
        return True
    return False


def test_a_wrong_password(real_cloud: RealCloud, tmp_path: Path) -> None:
    del real_cloud
    entry = member()
    path = write(tmp_path, {**entry, "auth": {**entry["auth"], "password": "guess-again"}})
    with bench(provider(), path, prepare=False) as prov:
        with pytest.raises(Unauthorized) as refusal:
            prov.adapter.prepare(DEADLINE)
        assert "guess-again" not in str(refusal.value)
        write(tmp_path, entry)
        prov.adapter.prepare(DEADLINE)
        assert prov.adapter.cost("main", "small") == TINY


def test_a_project_that_is_not_ours(real_cloud: RealCloud, tmp_path: Path) -> None:
    del real_cloud
    entry = member()
    path = write(tmp_path, {**entry, "auth": {**entry["auth"], "project_name": "service"}})
    with bench(provider(), path, prepare=False) as prov, pytest.raises(Unauthorized):
        prov.adapter.prepare(DEADLINE)


def test_a_region_that_there_is_not(real_cloud: RealCloud, tmp_path: Path) -> None:
    del real_cloud
    path = write(tmp_path, {**member(), "region_name": "RegionTwo"})
    with bench(provider(), path, prepare=False) as prov, pytest.raises(Misconfigured, match="RegionTwo"):
        prov.adapter.prepare(DEADLINE)


WRONG: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("flavor-name", {"flavor-name": "m1.gigantic"}, {}),
    ("min-ram", {"flavor-name": "m1", "min-ram": 9999999}, {}),
    ("networks", {"networks": ["nowhere"]}, {}),
    ("cloud-image", {"cloud-image": "gone"}, {}),
    ("cloud-image", {"cloud-image": "gone-id"}, {}),
    ("availability-zones", {}, {"availability_zones": ["az9"]}),
    ("key-name", {"key-name": "nobody"}, {}),
    ("security-groups", {}, {"security_groups": ["nobody"]}),
)
"""The key that is wrong; what a label has; what its pool has."""


def test_labels_that_the_cloud_cannot_serve_cost_another_nothing(cloud: RealCloud) -> None:
    del cloud
    images = [{"name": "base"}, {"name": "gone"}, {"name": "gone-id", "image-id": NOBODY}]
    pools = [pool({"name": "wrong", **label}, name=f"p{n}", **place) for n, (_, label, place) in enumerate(WRONG)]
    with bench(provider(pools=[*pools, pool({"name": "small"})]) | {"cloud-images": images}) as prov:
        for number, (key, *_) in enumerate(WRONG):
            with pytest.raises(BadLabel, match=key):
                prov.adapter.cost(f"p{number}", "wrong")
            with pytest.raises(BadLabel, match=key):
                prov.create(pool=f"p{number}", label="wrong", az="az1")
        assert prov.active(prov.create(az="az1")).resources == TINY


def test_a_zone_that_the_cloud_does_not_have_is_a_lack_of_capacity(cloud: RealCloud) -> None:
    del cloud
    with bench(provider()) as prov, pytest.raises(NoCapacity, match="az9"):
        prov.create(az="az9")


def test_a_flavor_that_is_replaced_is_found_again(cloud: RealCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveCatalogue, "drop_age", 0.0)
    monkeypatch.setattr(LiveCatalogue, "look_again", 0.0)
    compute, name = cloud.admin.compute, f"replaced{OF_A_TEST}"
    with bench(provider(pools=[pool({"name": "small", "flavor-name": name}, {"name": "other"})])) as prov:
        for memory in (300, 400):
            flavor = compute.create_flavor(name=name, ram=memory, vcpus=1, disk=1)
            prov.adapter.prepare(DEADLINE)
            assert prov.adapter.cost("main", "small") == Resources(instances=1, cores=1, ram=memory)
            prov.active(prov.create(az="az1"))
            compute.delete_flavor(flavor)
            with pytest.raises(CloudError, match=r"[Ff]lavor"):
                prov.create(az="az1")
            with pytest.raises(BadLabel, match=name):
                prov.create(az="az1")
            prov.create(label="other", az="az1")
