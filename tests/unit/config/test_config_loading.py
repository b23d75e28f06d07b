"""Loading against validating: what a daemon tolerates, what it refuses, and what it is told (spec config 1, 11, 12)."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodepool.config.load import load, validate
from nodepool.config.problem import ConfigurationError, ConfigurationMissing, Severity
from tests.unit.config.reading import Files, lines

TOLERATED = """
cron: x
labels: [{name: a}, {name: a}]
providers:
  - {name: p, driver: toy, frobnicate: 1}
  - name: p
    driver: toy
    size: 5
    pools:
      - {name: m, labels: [{name: a}]}
      - {name: m, labels: [{name: a}], max-servers: 7}
max-hold-age: 5
max-hold-age: 6
"""


def test_what_nodepool_11_took_is_an_error_for_the_validator_only(files: Files) -> None:
    files.write(TOLERATED)
    found = files.validate()
    assert {problem.severity for problem in found} == {Severity.ERROR}
    config = files.load()
    assert [str(problem) for problem in config.warnings] == [str(problem) for problem in found]
    assert {problem.severity for problem in config.warnings} == {Severity.WARNING}
    assert lines(config.warnings)[0].startswith("warning: nodepool.yaml:2: cron: unknown key")


def test_of_things_defined_twice_the_last_counts(files: Files) -> None:
    files.write(TOLERATED)
    config = files.load()
    assert list(config.providers) == ["p"]
    assert config.providers["p"].provider["size"] == 5
    assert config.providers["p"].pools["m"].max_servers == 7
    assert config.max_hold_age == 6


def test_an_error_stops_the_load_and_all_of_them_are_named(files: Files) -> None:
    files.write("cron: x\nlabels: [{name: a, min-ready: x}]\nmax-hold-age: y\n")
    with pytest.raises(ConfigurationError) as caught:
        files.load()
    assert [problem.line for problem in caught.value.problems] == [1, 2, 3]
    severities = [problem.severity for problem in caught.value.problems]
    assert severities == [Severity.WARNING, Severity.ERROR, Severity.ERROR]
    assert str(caught.value).count("\n") == 2


def test_a_missing_file_can_be_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "nodepool.yaml"
    with pytest.raises(ConfigurationMissing):
        load(path)
    assert [str(problem) for problem in validate(path)] == [f"{path}: the file does not exist"]


def test_an_unreadable_file_is_not_a_missing_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path)
    assert not isinstance(caught.value, ConfigurationMissing)


def test_the_environment_of_the_process_counts(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODEPOOL_TEST_AGE", "77")
    files.write("max-hold-age: %(NODEPOOL_TEST_AGE)\n")
    assert load(files.main).max_hold_age == 77
    assert validate(files.main) == []


def test_providers_keep_their_order_and_their_text(files: Files) -> None:
    files.write("providers:\n- {name: z, driver: toy}\n- {name: a, driver: toy, cloud: x}\n")
    providers = files.load().providers
    assert list(providers) == ["z", "a"]
    assert providers["a"].provider == {"name": "a", "driver": "toy", "cloud": "x"}
    assert providers["a"].driver.name == "toy"


def test_a_name_that_begins_with_fake_decides(files: Files) -> None:
    files.write("providers: [{name: fakecloud, driver: toy}, {name: fake}]\n")
    assert list(files.load().providers) == ["fakecloud", "fake"]


def test_two_loads_of_the_same_files_are_equal(files: Files) -> None:
    files.write(TOLERATED)
    assert files.load() == files.load()


def test_a_message_stays_on_one_line_whatever_the_file_holds(files: Files) -> None:
    files.write('labels: [{name: "a\\nb\\e[31m"}, {name: "a\\nb\\e[31m"}]\n')
    assert lines(files.validate())[1] == (
        "nodepool.yaml:1: labels[1].name: the label 'a\\nb\\x1b[31m' is defined a second time (first in line 1); "
        "only the last one counts"
    )
