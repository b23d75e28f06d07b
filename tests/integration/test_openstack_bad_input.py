"""A launcher whose operator got something wrong about clouds: it says once what and where, serves all else, and needs
no restart when it is put right.

A real launcher process, the real openstacksdk, and simulated clouds.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.launcher_process import LauncherProcess
from tests.requestor import REQUESTS, Zuul, zuul
from tests.zookeeper import eventually, new_place
from tools.certificates import Authority
from tools.cloud.process import CloudProcess
from tools.zookeeper import LocalZooKeeper

pytestmark = pytest.mark.slow
PATIENCE = 60.0
"""Seconds for what waits for the next try, or the next look at what a cloud offers."""
PASSWORD = "corr3ct-horse"
SETTINGS: dict[str, Any] = {
    "password": PASSWORD,
    "region": {
        "boot": 0.1,
        "delete": 0.1,
        "networks": [{"name": "ci", "cidr": "10.20.0.0/16"}],
        "flavors": [{"name": "m1.small", "ram": 2048, "vcpus": 1}, {"name": "m1.large", "ram": 8192, "vcpus": 4}],
        "images": [{"name": "debian-12"}],
        "key_pairs": ["admin"],
    },
}
OTHER_PASSWORD = "hunter2-hunter2"
USERDATA = "#cloud-config: the-secret-of-the-userdata"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    with CloudProcess(tmp_path_factory.mktemp("cloud"), SETTINGS) as running:
        yield running


class Site:
    """A launcher that is not started yet, its clouds.yaml, and a client of it."""

    def __init__(self, directory: Path, server: LocalZooKeeper, cloud: CloudProcess) -> None:
        self._directory = directory
        self._server = server
        self.cloud = cloud
        self.clouds_yaml = directory / "clouds.yaml"
        self.secure_yaml = directory / "secure.yaml"
        self.good: dict[str, Any] = yaml.safe_load(cloud.clouds_yaml.read_text())["clouds"]["simulated"]
        """The entry with which all is well."""

    def entry(self, *drop: str, auth: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        """The good entry with changes; ``drop`` are keys of ``auth``."""
        entry = copy.deepcopy(self.good) | changes
        entry["auth"] = {key: value for key, value in (entry["auth"] | (auth or {})).items() if key not in drop}
        return entry

    def write(self, **clouds: Any) -> None:
        """Write clouds.yaml, all of it at once."""
        written = self.clouds_yaml.with_suffix(".new")
        written.write_text(yaml.safe_dump({"clouds": {name.replace("_", "-"): one for name, one in clouds.items()}}))
        written.replace(self.clouds_yaml)

    def launcher(self, *providers: Mapping[str, Any], stock: str = "") -> LauncherProcess:
        """The launcher; its labels are those of the providers, one node of ``stock`` is to be kept ready."""
        names = {label["name"]: None for one in providers for pool in one["pools"] for label in pool["labels"]}
        labels = [{"name": name, "min-ready": 1} if name == stock else name for name in names]
        place = new_place(self._server.hosts)
        environment = {"OS_CLIENT_CONFIG_FILE": str(self.clouds_yaml), "OS_CLIENT_SECURE_FILE": str(self.secure_yaml)}
        directory = self._directory / "launcher"
        return LauncherProcess(directory, place, providers=providers, labels=labels, environment=environment)


@pytest.fixture
def site(tmp_path: Path, server: LocalZooKeeper, cloud: CloudProcess) -> Site:
    return Site(tmp_path, server, cloud)


def provider(name: str, cloud: str = "simulated", labels: Any = None, **more: Any) -> dict[str, Any]:
    """A provider with one pool; its only label is named after it unless ``labels`` are given."""
    pool = {"name": "main", "host-key-checking": False, "labels": labels or [label(name)], **more.pop("pool", {})}
    images = [{"name": "debian", "image-name": "debian-12"}]
    return {"name": name, "cloud": cloud, "rate": 0, "cloud-images": images, "pools": [pool], **more}


def label(name: str, **changes: Any) -> dict[str, Any]:
    """A label that works, with changes; None leaves a key out."""
    entry = {"name": name, "cloud-image": "debian", "flavor-name": "m1.small"} | {
        key.replace("_", "-"): value for key, value in changes.items()
    }
    return {key: value for key, value in entry.items() if value is not None}


def count(launcher: LauncherProcess, pattern: str) -> int:
    """How many lines of the log a pattern fits."""
    return sum(bool(re.search(pattern, line)) for line in launcher.log.splitlines())


def wait_told(launcher: LauncherProcess, pattern: str, seconds: float = PATIENCE) -> None:
    """Wait for a line of the log."""
    try:
        eventually(lambda: count(launcher, pattern), seconds)
    except AssertionError:
        raise AssertionError(f"no line like {pattern!r}. The log ends:\n{launcher.log[-6000:]}") from None


def serves(client: Zuul, *labels: str, seconds: float = PATIENCE) -> None:
    """A request is fulfilled, and what it got is given back."""
    request_id = client.submit(*labels)
    for node_id in client.accept(request_id, seconds):
        client.give_back(node_id)


def is_waiting(client: Zuul, request_id: str) -> bool:
    return (client.read(f"{REQUESTS}/{request_id}") or {}).get("state") == "requested"


def check_log(launcher: LauncherProcess, *secrets: str) -> None:
    """No traceback, and no secret."""
    assert "Traceback" not in launcher.log
    for secret in (PASSWORD, *secrets):
        assert secret not in launcher.log


def bad_entries(site: Site, tls: CloudProcess) -> dict[str, tuple[Any, str]]:
    """Entries of clouds.yaml that cannot be used, by the name of their provider, with what is said of them."""
    secure = yaml.safe_load(tls.clouds_yaml.read_text())["clouds"]["simulated"]
    application = yaml.safe_load(site.cloud.clouds_yaml.read_text())["clouds"]["simulated-application"]
    return {
        "absent": (None, r"cloud: .*clouds.yaml has no cloud 'absent'; it has .*no-text"),
        "no-text": ("text", r"cloud 'no-text' of .*: expected a mapping with 'auth'"),
        "no-password": (site.entry("password"), r"cloud 'no-password' of .*clouds.yaml: auth.password is missing"),
        "mistyped": (
            site.entry("password", auth={"pasword": OTHER_PASSWORD}),
            r"auth.pasword: there is no such key; did you mean 'password'\?",
        ),
        "wrong-password": (
            site.entry(auth={"password": OTHER_PASSWORD}),
            r"Keystone at http.* does not accept the user 'demo' in the project 'demo': the password is wrong",
        ),
        "expired": (application, r"does not accept the application credential '\w+': .* it has expired"),
        "strange-type": (site.entry(auth_type="v3pasword"), r"auth_type: there is no 'v3pasword'; .*'v3password'\?"),
        "no-address": (site.entry(auth={"auth_url": "keystone"}), r"auth.auth_url: 'keystone' is no address such as"),
        "refused": (
            site.entry(auth={"auth_url": "http://user:pw-in-url@127.0.0.1:9/v3"}),
            r"Keystone at http://127.0.0.1:9/v3: no connection: Connection refused",
        ),
        "unknown-host": (
            site.entry(auth={"auth_url": "http://keystone.invalid/v3"}),
            r"Keystone at http://keystone.invalid/v3: the name of the host is not known",
        ),
        "no-keystone": (
            site.entry(auth={"auth_url": f"{site.cloud.url}/elsewhere"}),
            r"/elsewhere: HTTP 404: .*there is no Keystone; put auth.auth_url right",
        ),
        "mars": (
            site.entry(region_name="Mars"),
            r"the service 'compute' is not in region 'Mars' \(region_name\); it has RegionOne",
        ),
        "internal": (site.entry(interface="internal"), r"no endpoint of interface 'internal'; it has public"),
        "untrusted": (secure, r"its certificate is not accepted \(.*\): name the authority's certificate as 'cacert'"),
        "lost-file": ({**secure, "cacert": "/nonexistent/ca.pem"}, r"cacert: there is no file /nonexistent/ca.pem"),
    }


def test_what_is_wrong_in_clouds_yaml_is_told_once_and_mended_without_a_restart(
    site: Site, cloud: CloudProcess, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "tls")
    pair = authority.issue("127.0.0.1")
    settings = SETTINGS | {"tls_certificate": str(pair.certificate), "tls_key": str(pair.key)}
    with CloudProcess(tmp_path / "cloud-tls", settings) as tls:
        cases = bad_entries(site, tls)
        site.write(good=site.good, **{name: one for name, (one, _) in cases.items() if one is not None})
        cloud.control.change_identity(application_expired=True)
        providers = [provider("good", "good"), *(provider(name, name) for name in cases)]
        providers.append(provider("region", "good", **{"region-name": "RegionTwo"}))
        expected = {name: text for name, (_, text) in cases.items()}
        expected["region"] = r"region-name: cloud 'good' of .* has no region 'RegionTwo'; it has RegionOne"
        with site.launcher(*providers) as launcher, zuul(launcher.place) as client:
            waiting = {name: client.submit(name) for name in expected}
            serves(client, "good")
            for name, text in expected.items():
                wait_told(launcher, rf"WARNING .*Provider {name} .*{text}")
            serves(client, "good")
            assert all(is_waiting(client, request_id) for request_id in waiting.values())
            assert "Request waits: the provider does not answer" in launcher.log
            lines = {name: count(launcher, f"WARNING .*Provider {name} ") for name in expected}
            assert lines == dict.fromkeys(expected, 1)

            trusted = yaml.safe_load(tls.clouds_yaml.read_text())["clouds"]["simulated"]
            mended: dict[str, Any] = dict.fromkeys(cases, site.good)
            mended |= dict.fromkeys(("untrusted", "lost-file"), trusted | {"cacert": str(authority.certificate)})
            mended["expired"] = cases["expired"][0]
            site.write(good=site.entry(regions=["RegionOne", "RegionTwo"]), **mended)
            cloud.control.change_identity(application_expired=False)
            wait_told(launcher, r"Provider region still does not answer.*'compute' is not in region 'RegionTwo'")
            for name in cases:
                client.fulfilled(waiting[name], PATIENCE)
                assert count(launcher, rf"WARNING .*Provider {name} answers again") == 1
            serves(client, "good")
            check_log(launcher, OTHER_PASSWORD, "pw-in-url")


def test_files_that_cannot_be_read_are_named(site: Site) -> None:
    site.clouds_yaml.mkdir()
    with site.launcher(provider("first")) as launcher, zuul(launcher.place) as client:
        waiting = client.submit("first")
        wait_told(
            launcher, r"WARNING .*Provider first .*cloud: 'simulated' cannot be .*clouds.yaml cannot be read: Is a d"
        )
        site.clouds_yaml.rmdir()
        wait_told(
            launcher, r"Provider first still .*there is no clouds.yaml in .*OS_CLIENT_CONFIG_FILE names .* not there"
        )
        site.clouds_yaml.write_text(f"clouds:\n  simulated:\n    auth: {{password: '{OTHER_PASSWORD}',\n")
        wait_told(launcher, r"Provider first still .*clouds.yaml is not YAML: line 4, column 1: expected")
        site.clouds_yaml.write_text("clouds: [simulated]\n")
        wait_told(launcher, r"Provider first still .*clouds.yaml has no mapping 'clouds' at the top")
        site.write(simulated=site.good)
        client.fulfilled(waiting, PATIENCE)
        check_log(launcher, OTHER_PASSWORD)


def test_credentials_that_change_while_running(site: Site) -> None:
    with CloudProcess(site.clouds_yaml.parent / "own-cloud", SETTINGS) as own:
        good = yaml.safe_load(own.clouds_yaml.read_text())["clouds"]["simulated"]
        del good["auth"]["password"]
        site.write(simulated=site.good, own=good)
        site.secure_yaml.write_text(yaml.safe_dump({"clouds": {"own": {"auth": {"password": PASSWORD}}}}))
        with site.launcher(provider("other"), provider("own", "own")) as launcher, zuul(launcher.place) as client:
            serves(client, "own")
            own.control.change_identity(password=OTHER_PASSWORD)
            own.control.revoke_tokens()
            waiting = client.submit("own")
            wait_told(launcher, r"WARNING .*Provider own .* does not accept the user 'demo' in the project 'demo'")
            serves(client, "other")
            site.secure_yaml.write_text(yaml.safe_dump({"clouds": {"own": {"auth": {"password": OTHER_PASSWORD}}}}))
            client.fulfilled(waiting, PATIENCE)
            own.control.change_identity(project_enabled=False)
            own.control.revoke_tokens()
            waiting = client.submit("own")
            eventually(lambda: count(launcher, r"WARNING .*Provider own .* project is unknown or disabled") == 2)
            own.control.change_identity(project_enabled=True)
            client.fulfilled(waiting, PATIENCE)
            assert count(launcher, "Provider own answers again") == 2
            assert not count(launcher, "Provider other")
            check_log(launcher, OTHER_PASSWORD)


def test_a_changed_clouds_yaml_that_cannot_be_used_costs_nothing(site: Site) -> None:
    site.write(simulated=site.good)
    with site.launcher(provider("first")) as launcher, zuul(launcher.place) as client:

        def serves_until_told(pattern: str) -> None:
            """The file is looked at when the cloud is called."""

            def told() -> int:
                serves(client, "first")
                return count(launcher, pattern)

            eventually(told, PATIENCE)

        serves(client, "first")
        site.clouds_yaml.write_text("clouds: {simulated: {auth: [\n")
        serves_until_told(r"WARNING .*first: clouds.yaml has changed, but the connection .* stays: .* is not YAML")
        site.write(simulated=site.entry(auth={"password": OTHER_PASSWORD}))
        serves_until_told(r"WARNING .*first: clouds.yaml has changed, but the connection .* does not accept the user")
        site.write(simulated=site.entry(force_ipv4=True))
        serves_until_told(r"INFO .*first: clouds.yaml has changed: cloud 'simulated' is now used as .*clouds.yaml says")
        assert not count(launcher, "Provider first")
        assert count(launcher, "clouds.yaml has changed") == 3
        check_log(launcher, OTHER_PASSWORD)


# Labels

LACKING = {
    "flavorless": r"flavor-name: the cloud has no flavor 'm1.hug'; it has m1.large, m1.small",
    "heavy": r"min-ram: the cloud has no flavor with 32768 MiB or more; the largest has 8192 MiB",
    "imageless": r"cloud-image 'new': the cloud has no image named 'debian-13'; it has debian-12; did you mean",
    "netless": r"networks: the cloud has no network 'c1'; it has ci",
    "keyless": r"key-name: the user of clouds.yaml has no key pair 'admn'; it has admin; did you mean 'admin'\?",
    "grouped": r"security-groups: the project has no security group 'shh'; it has default",
    "zoned": r"availability-zones: the cloud has no zone 'az9'; it has az1, az2",
}
"""Labels that lack something, and what is said of them."""
MENDED: dict[str, Any] = {
    "flavors": [
        *SETTINGS["region"]["flavors"],
        {"name": "m1.hug", "ram": 4096, "vcpus": 1},
        {"name": "m1.heavy", "ram": 65536, "vcpus": 8},
    ],
    "images": [{"name": "debian-12"}, {"name": "debian-13"}],
    "networks": [*SETTINGS["region"]["networks"], {"name": "c1", "cidr": "10.21.0.0/16"}],
    "key_pairs": ["admin", "admn"],
    "security_groups": ["shh"],
    "zones": ["az1", "az2", "az9"],
}


def pools() -> list[dict[str, Any]]:
    """Pools with labels that lack something and others that do not."""
    labels = [
        label("fine"),
        label("flavorless", flavor_name="m1.hug"),
        label("heavy", flavor_name=None, min_ram=32768),
        label("imageless", cloud_image="new"),
        label("netless", networks=["c1"]),
        label("keyless", key_name="admn"),
        label("both", flavor_name="m1.hug"),
        label("stock", flavor_name="m1.hug"),
        label("large", flavor_name="m1.large"),
    ]
    common: dict[str, Any] = {"host-key-checking": False, "networks": ["ci"]}
    return [
        {"name": "main", "labels": labels, **common},
        {"name": "groups", "labels": [label("grouped")], "security-groups": ["default", "shh"], **common},
        {"name": "zones", "labels": [label("zoned")], "availability-zones": ["az9"], **common},
        {"name": "half", "labels": [label("half")], "availability-zones": ["az2", "az9"], **common},
    ]


def test_a_label_that_lacks_something_is_out_of_service_until_the_cloud_has_it(site: Site) -> None:
    images = [{"name": "debian", "image-name": "debian-12"}, {"name": "new", "image-name": "debian-13"}]
    regions = {"RegionOne": {}, "Poor": {"quota": {"instances": 0}}}
    with CloudProcess(site.clouds_yaml.parent / "own-cloud", SETTINGS | {"regions": regions}) as own:
        own_entry = yaml.safe_load(own.clouds_yaml.read_text())["clouds"]["simulated"]
        site.write(simulated=site.good, own=own_entry)
        further: dict[str, Any] = {"cloud-images": images, "region-name": "RegionOne", "pools": pools()}
        lacking = provider("lacking", "own", **further)
        second = provider("second", labels=[label("both")], pool={"networks": ["ci"]})
        poor = provider("poor", "own", **{"region-name": "Poor"})
        with site.launcher(lacking, second, poor, stock="stock") as launcher, zuul(launcher.place) as client:
            for name, text in LACKING.items():
                wait_told(
                    launcher, rf"WARNING .*Out of service: provider 'lacking', pool '\w+', label '{name}': {text}"
                )
                assert client.wait_done(client.submit(name))["state"] == "failed"
            wait_told(
                launcher, r"pool 'half', availability-zones: only some can be used: the cloud has no zone 'az9'; "
            )
            wait_told(launcher, "Declining node request: the label does not work as it is configured")
            assert client.wait_done(client.submit("poor"))["state"] == "failed"
            wait_told(launcher, "WARNING .*provider 'poor': the quota of the project allows no instances")
            wait_told(
                launcher, "Declining node request: the request is larger than the pool or its provider can ever be"
            )
            for name in ("fine", "half", "half", "both", "large"):
                serves(client, name)
            own.control.change(flavors=SETTINGS["region"]["flavors"][:1])
            assert client.wait_done(client.submit("large"), PATIENCE)["state"] == "failed"
            wait_told(launcher, "Out of service: .*label 'large': flavor-name: the cloud has no flavor 'm1.large'")
            serves(client, "fine")

            own.control.change(**MENDED)
            own.control.change("Poor", quota={"instances": 10})
            for name in (*LACKING, "both", "large"):
                wait_told(launcher, rf"In service again: provider 'lacking', pool '\w+', label '{name}'")
                serves(client, name)
                assert count(launcher, f"Out of service: .* label '{name}'") == 1
            serves(client, "poor")
            eventually(lambda: "ready" in [node["state"] for node in client.all_nodes().values()])
            own.control.change(images=[])
            own.control.change(images=MENDED["images"])
            serves(client, "fine")
            assert not count(launcher, "label 'fine'"), "an image that was replaced is used at once"
            check_log(launcher)
