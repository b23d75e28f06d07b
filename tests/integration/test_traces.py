"""Traces of a running launcher, which join those of Zuul."""

from __future__ import annotations

import sys
from pathlib import Path

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.launcher_process import LauncherProcess, fake_provider
from tests.requestor import TRACE, zuul
from tests.trace_collector import TraceCollector
from tests.zookeeper import Place, eventually


def told(span: Span) -> dict[str, str]:
    """The attributes that are text."""
    return {one.key: one.value.string_value for one in span.attributes if one.value.string_value}


def test_requests_and_launches_are_spans_within_zuuls(tmp_path: Path, zookeeper: Place) -> None:
    broken = {**fake_provider("fake-broken", ["bad"], fake={"faults": {"create-refused": 1.0}}), "launch-retries": 1}
    with TraceCollector() as collector:
        launcher = LauncherProcess(
            tmp_path,
            zookeeper,
            providers=[fake_provider("fake-good", ["small"]), broken],
            labels=["small", "bad"],
            environment=collector.environment,
        )
        with launcher, zuul(zookeeper) as client:
            good, bad = client.submit("small"), client.submit("bad", requestor_data=None)
            (node_id,) = client.fulfilled(good)
            assert client.wait_done(bad)["state"] == "failed"
            eventually(lambda: len(collector.named("node request")) == len(collector.named("launch")) == 2)
    requests = {told(span)["request"]: span for span in collector.named("node request")}
    launches = {told(span)["request"]: span for span in collector.named("launch")}
    for span in (requests[good], launches[good]):
        assert int.from_bytes(span.trace_id) == TRACE
        assert int.from_bytes(span.parent_span_id) == TRACE >> 64
        assert span.status.code == Status.STATUS_CODE_OK
        assert span.start_time_unix_nano <= span.end_time_unix_nano
    assert told(launches[good]).items() >= {("node", node_id), ("provider", "fake-good"), ("result", "ready")}
    assert requests[good].start_time_unix_nano <= launches[good].start_time_unix_nano
    for span in (requests[bad], launches[bad]):
        assert span.parent_span_id == b""
        assert span.status.code == Status.STATUS_CODE_ERROR
    assert collector.services == {"nodepool-launcher"}


def test_a_collector_that_is_away_hinders_nothing(tmp_path: Path, zookeeper: Place) -> None:
    with (
        LauncherProcess(
            tmp_path,
            zookeeper,
            providers=[fake_provider("fake-good", ["small"])],
            labels=["small"],
            environment={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_BSP_SCHEDULE_DELAY": "100"},
        ) as launcher,
        zuul(zookeeper) as client,
    ):
        for _ in range(3):
            assert client.fulfilled(client.submit("small"))
        assert launcher.stop() == 0
        assert "Traceback" not in launcher.log


def test_without_the_library_there_are_no_traces_and_the_log_says_so(tmp_path: Path, zookeeper: Place) -> None:
    lacking = (
        "import sys; sys.modules['opentelemetry'] = None; from nodepool.cmd.launcher import main; sys.exit(main())"
    )
    with LauncherProcess(
        tmp_path,
        zookeeper,
        providers=[fake_provider("fake-good", ["small"])],
        labels=["small"],
        environment={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        program=(sys.executable, "-c", lacking),
    ) as launcher:
        assert "There are no traces, for a library is missing" in launcher.log
        assert "pip install 'nodepool[traces]'" in launcher.log
