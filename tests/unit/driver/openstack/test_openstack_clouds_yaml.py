"""What is said of entries of clouds.yaml that cannot be used; and that no secret is said."""

from __future__ import annotations

import itertools
import textwrap
from pathlib import Path

import pytest
from keystoneauth1.session import Session
from openstack.config import loader

from nodepool.driver.errors import Misconfigured
from nodepool.driver.openstack.clouds_yaml import CloudEntry, read_entry, stamp

SECRET = "s3cr3t-horse"
GOOD = f"""
clouds:
  one:
    region_name: west
    auth: {{auth_url: "http://k:5000/v3", username: me, password: {SECRET}, project_name: p}}
  two: {{auth: {{auth_url: "http://k:5000/v3", username: me, project_name: p}}}}
"""


class Files:
    """The only places where openstacksdk looks."""

    def __init__(self, directory: Path) -> None:
        self.first = directory / "first.yaml"
        self.second = directory / "second.yaml"
        self.secure = directory / "secure.yaml"

    def write(self, text: str) -> None:
        self.second.write_text(textwrap.dedent(text))

    def read(self, name: str = "one", region: str | None = None) -> CloudEntry:
        return read_entry(name, region, Session)

    def problem(self, name: str = "one", region: str | None = None) -> str:
        with pytest.raises(Misconfigured) as caught:
            self.read(name, region)
        assert SECRET not in str(caught.value)
        return str(caught.value)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    files = Files(tmp_path)
    for name in ("OS_CLIENT_CONFIG_FILE", "OS_CLIENT_SECURE_FILE", "OS_CLOUD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(loader, "CONFIG_FILES", [str(files.first), str(files.second)])
    monkeypatch.setattr(loader, "SECURE_FILES", [str(files.secure)])
    return files


def test_a_good_entry(files: Files) -> None:
    files.write(GOOD)
    entry = files.read()
    assert (entry.source, entry.auth_url, entry.secrets) == (str(files.second), "http://k:5000/v3", (SECRET,))
    assert entry.is_like(files.read())
    files.write(GOOD.replace("username: me", "username: you"))
    assert not entry.is_like(files.read())


def test_secrets_may_stand_in_a_file_of_their_own(files: Files) -> None:
    files.write(GOOD)
    assert files.problem("two").endswith("second.yaml: auth.password is missing")
    files.secure.write_text(f"clouds: {{two: {{auth: {{password: {SECRET}}}}}}}")
    assert files.read("two").secrets == (SECRET,)
    files.secure.write_text(f"clouds: {{two: {{auth: {{password: {SECRET}")
    problem = files.problem("two")
    assert "auth.password is missing; " in problem
    assert f"{files.secure} is not YAML: line 1, column " in problem


def test_a_file_that_cannot_be_read_is_passed_over_and_told(files: Files) -> None:
    files.write(GOOD)
    files.first.write_text(f"clouds: {{one: {{auth: {{password: {SECRET}")
    entry = files.read()
    assert entry.source == str(files.second)
    assert len(entry.troubles) == 1
    assert entry.troubles[0].startswith(f"{files.first} is not YAML: line 1, column ")
    assert SECRET not in entry.troubles[0]


def test_no_file(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = files.first.parent
    expected = f"cloud: 'one' cannot be looked up: there is no clouds.yaml in {directory}, and OS_CLIENT_CONFIG_FILE "
    assert files.problem() == expected + "is not set"
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", "/nowhere.yaml")
    assert files.problem() == expected + "names /nowhere.yaml, which is not there"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("clouds: {one: {}\n", "is not YAML: line 2, column 1: "),
        ("clouds:\n\tone: {}\n", "is not YAML: line 2, column 1: found character '\\t'"),
        ("just text", "has no mapping 'clouds' at the top"),
        ("- clouds", "has no mapping 'clouds' at the top"),
        ("clouds: [one]", "has no mapping 'clouds' at the top"),
        ("clouds: {onr: {}, other: {}}", "has no cloud 'one'; it has onr, other; did you mean 'onr'?"),
        ("", "has no cloud 'one'; it has none"),
        ("clouds: {one: }", "cloud 'one' of {file}: expected a mapping with 'auth' and more"),
        ("clouds: {one: {auth: me}}", "cloud 'one' of {file}: auth: expected a mapping with 'auth_url' and more"),
        ("clouds: {one: {auth: {}}}", "auth.auth_url is missing"),
        (
            "clouds: {one: {auth: {auth_url: 'http://k', username: me, pasword: " + SECRET + "}}}",
            "auth.pasword: there is no such key; did you mean 'password'?",
        ),
        ("clouds: {one: {auth: {auth_url: 'http://k', password: " + SECRET + "}}}", "auth.username is missing"),
        (
            "clouds: {one: {auth_type: v3applicationcredential, auth: {auth_url: 'http://k', "
            "application_credential_id: me}}}",
            "openstacksdk cannot use it: You must provide an auth secret.",
        ),
        (
            "clouds: {one: {auth_type: passwort, auth: {}}}",
            "auth_type: there is no 'passwort'; did you mean 'password'?",
        ),
        ("clouds: {one: {auth: {auth_url: k, username: me, password: p}}}", "auth.auth_url: 'k' is no address such as"),
        (
            "clouds: {one: {cacert: /no/file, auth: {auth_url: 'https://k', username: me, password: p}}}",
            "cacert: there is no file /no/file",
        ),
        (
            "clouds: {one: {networks: [{nat_source: true}], auth: {auth_url: 'http://k', username: m, password: p}}}",
            'openstacksdk cannot use it: Entry in network list is missing required field "name".',
        ),
    ],
)
def test_what_is_wrong_is_told(files: Files, text: str, problem: str) -> None:
    files.write(text)
    assert problem.replace("{file}", str(files.second)) in files.problem()


def test_an_unknown_region(files: Files) -> None:
    files.write(GOOD)
    problem = f"region-name: cloud 'one' of {files.second} has no region 'West'; it has west; did you mean 'west'?"
    assert files.problem(region="West") == problem
    assert files.read(region="west").config.region_name == "west"


def test_numbers_that_YAML_takes_for_such_are_remembered(files: Files) -> None:
    files.write("clouds: {one: {auth: {auth_url: 'http://k', username: me, password: 0123}}}")
    assert files.read().unquoted == ("password",)


def test_a_change_of_any_file_is_seen(files: Files) -> None:
    stamps = [stamp()]
    files.write(GOOD)
    stamps.append(stamp())
    files.secure.write_text("{}")
    stamps.append(stamp())
    files.secure.write_text("{clouds: {}}")
    stamps.append(stamp())
    files.first.write_text(GOOD)
    stamps.append(stamp())
    files.first.unlink()
    stamps.append(stamp())
    assert all(before != after for before, after in itertools.pairwise(stamps))
    assert stamp() == stamps[-1]
