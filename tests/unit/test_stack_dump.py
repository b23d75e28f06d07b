"""The stack dump on SIGUSR2 (spec operation 2)."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator

import pytest

from nodepool.telemetry import stack_dump


@pytest.fixture(autouse=True)
def _restored_signal() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR2)
    yield
    signal.signal(signal.SIGUSR2, before)


@pytest.fixture
def idle_thread() -> Iterator[threading.Thread]:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="pool-worker-rack-main", daemon=True)
    thread.start()
    yield thread
    stop.set()
    thread.join()


def test_signal_logs_every_thread_with_its_stack(
    caplog: pytest.LogCaptureFixture, idle_thread: threading.Thread
) -> None:
    stack_dump.install()
    with caplog.at_level(logging.DEBUG, "nodepool.stack_dump"):
        signal.raise_signal(signal.SIGUSR2)
    assert {record.name for record in caplog.records} == {"nodepool.stack_dump"}
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
    assert caplog.messages[0] == "Beginning debug handler"
    assert caplog.messages[-1] == "End debug handler"
    (own,) = (text for text in caplog.messages if " MainThread " in text)
    assert "test_signal_logs_every_thread_with_its_stack" in own
    (other,) = (text for text in caplog.messages if " pool-worker-rack-main " in text)
    assert str(idle_thread.ident) in other
    assert "d: True" in other
    assert "in wait" in other


def test_second_signal_dumps_again(caplog: pytest.LogCaptureFixture) -> None:
    stack_dump.install()
    with caplog.at_level(logging.DEBUG, "nodepool.stack_dump"):
        signal.raise_signal(signal.SIGUSR2)
        signal.raise_signal(signal.SIGUSR2)
    assert caplog.messages.count("End debug handler") == 2


def test_signal_during_a_dump_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    def signal_again(_record: logging.LogRecord) -> bool:
        signal.raise_signal(signal.SIGUSR2)
        return True

    stack_dump.install()
    logger = logging.getLogger("nodepool.stack_dump")
    logger.addFilter(signal_again)
    try:
        with caplog.at_level(logging.DEBUG, "nodepool.stack_dump"):
            signal.raise_signal(signal.SIGUSR2)
    finally:
        logger.removeFilter(signal_again)
    assert caplog.messages.count("Beginning debug handler") == 1


def test_nothing_is_logged_above_debug(caplog: pytest.LogCaptureFixture) -> None:
    stack_dump.install()
    with caplog.at_level(logging.INFO, "nodepool.stack_dump"):
        signal.raise_signal(signal.SIGUSR2)
    assert caplog.messages == []
