"""What a launcher logs while it serves requests: as JSON, with the ids on every line that concerns something."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.launcher_process import LauncherProcess, fake_provider
from tests.requestor import Zuul, zuul
from tests.zookeeper import eventually, new_place
from tools.zookeeper import LocalZooKeeper

# Not what is part of the hexadecimal number of a session.
NODE_ID = re.compile(r"(?<![\da-fx-])\d{10}(?![\da-f])")
REQUEST_ID = re.compile(r"\b\d{3}-\d{10}\b")
LAUNCHED_FOR = "[a-z, ]+ for 3f9d"
"""How a line tells of labels and requestor; the rest of the requestor's name follows."""

Line = dict[str, Any]


@pytest.fixture(scope="module")
def lines(server: LocalZooKeeper, tmp_path_factory: pytest.TempPathFactory) -> list[Line]:
    """All that a launcher logs while requests are served, wait, are declined and fail."""
    launcher = LauncherProcess(
        tmp_path_factory.mktemp("launcher"),
        new_place(server.hosts),
        providers=[fake_provider("fake-good", ["stock", "small"], max_servers=2), _broken(), _without_flavor()],
        labels=[{"name": "stock", "min-ready": 1}, "small", "broken", "tall"],
        debug=True,
        environment={"NODEPOOL_LOG_FORMAT": "json"},
    )
    with launcher, zuul(launcher.place) as scheduler:
        _play(launcher, scheduler)
        launcher.stop(signal.SIGINT)
    return [json.loads(line) for line in launcher.log.splitlines()]


def _broken() -> dict[str, Any]:
    """Nobody listens where its machines are."""
    broken = fake_provider("fake-broken", ["broken"], fake={"address": "127.0.0.1"})
    broken["cloud-images"][0]["connection-port"] = 1
    broken["pools"][0]["labels"][0]["console-log"] = True
    return {**broken, "boot-timeout": 0.5, "launch-retries": 2}


def _without_flavor() -> dict[str, Any]:
    provider: dict[str, Any] = fake_provider("fake-tall", ())
    provider["pools"][0]["labels"] = [{"name": "tall", "cloud-image": "image", "flavor-name": "none of that name"}]
    return provider


def _play(launcher: LauncherProcess, scheduler: Zuul) -> None:
    failing = scheduler.submit("broken")
    for label in ("gpu", "tall"):
        assert scheduler.wait_done(scheduler.submit(label))["state"] == "failed"
    nodes = scheduler.all_nodes
    eventually(lambda: [node for node in nodes().values() if node["state"] == "ready" and not node["allocated_to"]])
    first = [*scheduler.obtain("stock"), *scheduler.obtain("small")]
    waiting = scheduler.submit("small")
    eventually(lambda: _waits(launcher, waiting))
    for node in first:
        scheduler.use(node)
        scheduler.give_back(node)
    last = scheduler.accept(waiting)
    for node in last:
        scheduler.use(node)
        scheduler.give_back(node)
    for node in (*first, *last):
        scheduler.wait_node_gone(node)
    assert scheduler.wait_done(failing)["state"] == "failed"
    eventually(lambda: "no console log" in launcher.log or "Console log from" in launcher.log)
    eventually(lambda: not [node for node in scheduler.all_nodes().values() if node["provider"] == "fake-broken"])


def _waits(launcher: LauncherProcess, request_id: str) -> bool:
    return any(
        "Not enough quota remaining to satisfy request: " in line and request_id in line
        for line in launcher.log.splitlines()
    )


def _said(lines: list[Line], pattern: str) -> Iterator[Line]:
    return (line for line in lines if re.search(pattern, line["message"]))


@pytest.mark.parametrize(
    "pattern",
    [
        f"^Assigning node request to pool main: {LAUNCHED_FOR}",
        rf"^Declining node request: .* \({LAUNCHED_FOR}",
        rf"^Declining node request: a node could not be launched \(.*; {LAUNCHED_FOR}",
        f"^Declining node request: .* as it is configured .{LAUNCHED_FOR}.*; no flavor fits the label 'tall'",
        r"^Fulfilled node request: \d{10}",
        r"^Locked existing node \d{10} for request 200-\d{10}",
        "^Not enough quota remaining to satisfy request: the pool is at its limit",
        r"^Launch attempt 1/2 for node \d{10}",
        r"^Launch attempt 2/2 for node \d{10} failed: ",
        "^Console log from external id ",
        r"^Node \d{10} is ready",
    ],
)
def test_what_operators_search_for_bears_request_and_event(lines: list[Line], pattern: str) -> None:
    found = [line for line in _said(lines, pattern) if not line.get("node_request_id", "").startswith("900-")]
    assert found
    for line in found:
        assert REQUEST_ID.fullmatch(line["node_request_id"]), line
        assert re.fullmatch("[0-9a-f]{32}", line["event_id"]), line


def test_the_removal_of_a_record_is_told_with_the_ids_of_a_request_that_is_gone(lines: list[Line]) -> None:
    found = list(_said(lines, r"^Deleting ZK node id=\d{10}, state=deleting, external_id="))
    for line in found:
        assert line["node_id"] in line["message"]
        assert line["logger"] == "nodepool.DeletedNodeWorker"
    told = _said(lines, "^Fulfilled node request: ")
    served = {line["message"].partition(": ")[2] for line in told if line["node_request_id"].startswith("200-")}
    of_served = [line for line in found if line["node_id"] in served]
    assert len(of_served) == 3
    assert all({"node_request_id", "event_id"} <= line.keys() for line in of_served)


def test_a_line_that_names_a_node_or_a_request_has_its_id(lines: list[Line]) -> None:
    for line in lines:
        text = line["message"]
        # What is told of a request as a whole may name several of its nodes.
        if not line["logger"].startswith("nodepool.driver.NodeRequestHandler"):
            assert set(NODE_ID.findall(REQUEST_ID.sub("", text))) <= {line.get("node_id")}, line
        assert set(REQUEST_ID.findall(text)) <= {line.get("node_request_id")}, line


def test_a_line_of_a_node_at_work_has_its_request(lines: list[Line]) -> None:
    told = [line for line in lines if line["logger"].startswith("nodepool.StateMachineNode") and "node_id" in line]
    assert told
    assert all("node_request_id" in line for line in told)


def test_no_line_tells_of_a_fault_of_our_own(lines: list[Line]) -> None:
    assert not [line for line in lines if "exception" in line or line["level"] == "ERROR"]


def test_another_form_of_lines_is_refused(tmp_path: Path, server: LocalZooKeeper) -> None:
    launcher = LauncherProcess(
        tmp_path,
        new_place(server.hosts),
        providers=[fake_provider("fake-good", ["small"])],
        labels=["small"],
        environment={"NODEPOOL_LOG_FORMAT": "xml"},
    )
    launcher.start(wait=False)
    assert launcher.wait_end(30.0) == 1
    assert "NODEPOOL_LOG_FORMAT is 'xml': set it to 'text' or 'json', or unset it." in launcher.log
