"""What the operator reads when a provider's part of nodepool.yaml is wrong.

The cases stand in ``problems/*.txt``: ``### TITLE``, a file, ``=>``, and all lines that are to be reported for it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from nodepool.config.load import load, validate

Case = tuple[str, list[str]]


def read_cases(path: Path) -> dict[str, Case]:
    cases = {}
    for block in path.read_text().split("### ")[1:]:
        title, _, rest = block.partition("\n")
        text, _, expected = rest.partition("=>\n")
        cases[f"{path.stem}: {title}"] = (text, expected.strip().splitlines())
    return cases


CASES = {
    title: case
    for path in sorted((Path(__file__).parent / "problems").glob("*.txt"))
    for title, case in read_cases(path).items()
}


@pytest.mark.parametrize("title", CASES)
def test_every_problem_is_reported_with_line_and_path(tmp_path: Path, title: str) -> None:
    text, expected = CASES[title]
    main = tmp_path / "nodepool.yaml"
    main.write_text(text)
    assert [str(problem).removeprefix(f"{tmp_path}/") for problem in validate(main, environ={})] == expected


def test_the_cases_are_there() -> None:
    assert {title.partition(":")[0] for title in CASES} == {"before-use", "fake", "static"}


def test_of_labels_and_images_that_stand_twice_the_last_counts_for_a_daemon(tmp_path: Path) -> None:
    main = tmp_path / "nodepool.yaml"
    main.write_text("""
labels: [{name: a}]
providers:
  - name: p
    driver: openstack
    cloud: c
    cloud-images: [{name: img, username: first}, {name: img, username: last}]
    pools:
      - name: m
        labels:
          - {name: a, cloud-image: img, min-ram: 1}
          - {name: a, cloud-image: img, min-ram: 2}
""")
    config = load(main, environ={})
    assert [problem.message.partition(";")[0] for problem in config.warnings] == [
        "the cloud-image 'img' stands here a second time",
        "the label 'a' stands here a second time",
    ]
    label = config.providers["p"].pools["m"].labels["a"]
    assert (label.server.min_ram, label.settings.username) == (2, "last")
