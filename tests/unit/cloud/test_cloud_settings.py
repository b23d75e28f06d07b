"""Settings of a simulated cloud: defaults, regions, and what is said of bad ones."""

from __future__ import annotations

import pytest
import yaml

from tools.cloud.chance import Spread
from tools.cloud.reading import BadSettings
from tools.cloud.settings import QuotaCheck, read_settings


def test_nothing_given_is_one_region_with_defaults() -> None:
    settings = read_settings(None)
    assert list(settings.regions) == ["RegionOne"]
    assert settings.regions["RegionOne"] == settings.region


def test_a_region_differs_from_the_common_settings_only_where_it_says_so() -> None:
    document = yaml.safe_load(
        """
        seed: 7
        region: {boot: 3, quota: {instances: 5, cores: 9}, latency: {compute.*: 0.02}}
        regions:
          east: {}
          west: {quota: {instances: 2}, quota_check: scheduler}
        """
    )
    settings = read_settings(document)
    east, west = settings.regions["east"], settings.regions["west"]
    assert (east.quota.instances, east.quota.cores) == (5, 9)
    assert (west.quota.instances, west.quota.cores) == (2, 9)
    assert west.quota_check is QuotaCheck.SCHEDULER
    assert west.boot == Spread(3, 3)
    assert west.latency == {"compute.*": Spread(0.02, 0.02)}


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ([], "settings: expected a mapping"),
        ({"sed": 1}, "settings: unknown key 'sed'"),
        ({"seed": "x"}, "settings.seed: expected int, not 'x'"),
        ({"seed": True}, "settings.seed: expected int"),
        ({"regions": ["a"]}, "regions: expected a mapping"),
        ({"region": {"boot": -1}}, "region.boot: expected seconds"),
        ({"region": {"boot": [3, 2]}}, "region.boot: expected seconds"),
        ({"region": {"quota": {"disks": 1}}}, "region.quota: unknown key 'disks'"),
        ({"region": {"quota_check": "never"}}, "region.quota_check: 'never' is none of api, scheduler, none"),
        ({"region": {"flavors": [{"name": "x"}]}}, "region.flavors[0]: ram is missing"),
        ({"region": {"zones": "az1"}}, "region.zones: expected a list"),
        ({"regions": {"a": {"faults": {"calls": [{"fault": "x"}]}}}}, "regions.a.faults.calls[0].fault: 'x' is none"),
        ({"region": {"faults": {"servers": [{}]}}}, "region.faults.servers[0]: fault is missing"),
    ],
)
def test_bad_settings_are_named_with_their_place(document: object, complaint: str) -> None:
    with pytest.raises(BadSettings) as caught:
        read_settings(document)
    assert complaint in str(caught.value)
