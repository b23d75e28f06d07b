"""Logging as set up by the programs, the formatter, and annotated loggers (spec cli 6, launcher 11 and 12)."""

from __future__ import annotations

import io
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import nodepool.logconfig
from nodepool.telemetry import logs

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"
NAMES = ("nodepool", "nodepool.zk", "nodepool.ComponentRegistry", "nodepool.one", "requests", "openstack", "kazoo")


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in NAMES)]
    before = [(logger, logger.level, list(logger.handlers), logger.propagate, logger.disabled) for logger in loggers]
    yield
    for logger, level, handlers, propagate, disabled in before:
        for handler in set(logger.handlers) - set(handlers):
            handler.close()
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.propagate = propagate
        logger.disabled = disabled


def test_foreground_writes_info_of_nodepool_and_warnings_of_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up_daemon(None, foreground=True, debug=False, log_file="/nowhere/x.log")
    logging.getLogger("nodepool.one").info("seen")
    logging.getLogger("nodepool.one").debug("hidden")
    logging.getLogger("kazoo.client").info("hidden")
    logging.getLogger("kazoo.client").warning("lost")
    logging.getLogger("something.else").error("dropped")
    out, err = capsys.readouterr()
    assert re.fullmatch(rf"{TIME} INFO nodepool\.one: seen\n{TIME} WARNING kazoo\.client: lost\n", out)
    assert err == ""


def test_debug_in_the_foreground_shows_debug_of_nodepool_only(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up_daemon(None, foreground=True, debug=True, log_file="/nowhere/x.log")
    logging.getLogger("nodepool.one").debug("seen")
    logging.getLogger("kazoo.client").info("hidden")
    assert re.fullmatch(rf"{TIME} DEBUG nodepool\.one: seen\n", capsys.readouterr().out)


def test_daemon_log_file_is_opened_again_after_rotation(tmp_path: Path) -> None:
    log_file = tmp_path / "nodepool.log"
    logs.set_up_daemon(None, foreground=False, debug=False, log_file=str(log_file))
    logging.getLogger("nodepool.one").info("before")
    log_file.rename(tmp_path / "nodepool.log.1")
    logging.getLogger("nodepool.one").info("after")
    assert "before" in (tmp_path / "nodepool.log.1").read_text()
    assert "after" in log_file.read_text()


def test_daemon_log_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(logs.LoggingConfigurationError, match=r"missing/nodepool\.log: No such file .* -l"):
        logs.set_up_daemon(None, foreground=False, debug=False, log_file=str(tmp_path / "missing/nodepool.log"))


def test_command_writes_to_standard_error_and_keeps_the_session_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up_command(None, debug=False)
    logging.getLogger("nodepool.one").info("seen")
    logging.getLogger("nodepool.zk.session").info("hidden")
    logging.getLogger("nodepool.zk.session").warning("Retrying zookeeper connection")
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(": ", 1)[1] for line in err.splitlines()] == ["seen", "Retrying zookeeper connection"]


def test_command_debug_wins_over_the_configuration_file(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up_command("/nowhere/logging.yaml", debug=True)
    logging.getLogger("nodepool.zk.session").debug("seen")
    assert "DEBUG nodepool.zk.session: seen" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["logging.yaml", "logging.yml", "logging.json"])
def test_mapping_configuration_with_the_formatter_of_nodepool_11(tmp_path: Path, name: str) -> None:
    log_file = tmp_path / "out.log"
    early = logging.getLogger("nodepool.one")
    config = {
        "version": 1,
        "formatters": {"multi": {"class": "nodepool.logconfig.MultiLineFormatter", "format": "%(name)s: %(message)s"}},
        "handlers": {"file": {"class": "logging.FileHandler", "filename": str(log_file), "formatter": "multi"}},
        "loggers": {"nodepool": {"handlers": ["file"], "level": "DEBUG"}},
    }
    (tmp_path / name).write_text(json.dumps(config))
    logs.set_up_daemon(str(tmp_path / name), foreground=True, debug=False, log_file="unused")
    early.debug("one\ntwo")
    assert log_file.read_text() == "nodepool.one: one\nnodepool.one:   two\n"


def test_ini_configuration_with_the_formatter_of_nodepool_11(tmp_path: Path) -> None:
    log_file = tmp_path / "out.log"
    early = logging.getLogger("nodepool.one")
    (tmp_path / "logging.conf").write_text(
        "[loggers]\nkeys=root,nodepool\n[handlers]\nkeys=file\n[formatters]\nkeys=multi\n"
        "[logger_root]\nlevel=WARNING\nhandlers=\n"
        "[logger_nodepool]\nlevel=INFO\nhandlers=file\nqualname=nodepool\n"
        f"[handler_file]\nclass=FileHandler\nformatter=multi\nargs=('{log_file}',)\n"
        "[formatter_multi]\nclass=nodepool.logconfig.MultiLineFormatter\nformat=%(levelname)s %(message)s\n"
    )
    logs.set_up_command(str(tmp_path / "logging.conf"), debug=False)
    early.info("one\ntwo")
    assert log_file.read_text() == "INFO one\nINFO   two\n"


def test_missing_configuration_file_is_named() -> None:
    with pytest.raises(logs.LoggingConfigurationError, match=r"Unable to read logging config file at /nowhere/l\.yaml"):
        logs.set_up_daemon("/nowhere/l.yaml", foreground=True, debug=False, log_file="unused")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("broken.yaml", "a: [1"),
        ("list.yaml", "- 1"),
        ("empty.yaml", ""),
        ("version.yaml", "version: 7"),
        ("class.yaml", "version: 1\nhandlers: {h: {class: no.such.Handler}}"),
        ("directory.yaml", "version: 1\nhandlers: {h: {class: logging.FileHandler, filename: /no/such/dir/x.log}}"),
        ("empty.conf", ""),
        ("no-section.conf", "keys=root"),
        ("class.conf", "[loggers]\nkeys=root\n[handlers]\nkeys=h\n[formatters]\nkeys=\n[handler_h]\nclass=NoSuch\n"),
    ],
)
def test_unusable_configuration_file_is_named(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(logs.LoggingConfigurationError, match=re.escape(str(tmp_path / name))):
        logs.set_up_daemon(str(tmp_path / name), foreground=True, debug=False, log_file="unused")


def _logger_to(output: io.StringIO, line_format: str = "%(levelname)s %(name)s: %(message)s") -> logging.Logger:
    return _logger_with(nodepool.logconfig.MultiLineFormatter(line_format), output)


def _logger_with(formatter: logging.Formatter, output: io.StringIO) -> logging.Logger:
    handler = logging.StreamHandler(output)
    handler.setFormatter(formatter)
    logger = logging.getLogger("nodepool.one")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.handlers[:] = [handler]
    return logger


def test_annotation_has_only_what_is_known_in_the_documented_order() -> None:
    output = io.StringIO()
    logger = _logger_to(output)
    logs.annotate(logger, node_id="0000000007", event_id="e1", node_request_id="200-1").info("all %d%%", 3)
    logs.annotate(logger, node_id="0000000007").info("node")
    logs.annotate(logs.annotate(logger, event_id="e1"), node_id="8").warning("nested")
    logs.annotate(logger).info("none")
    assert output.getvalue().splitlines() == [
        "INFO nodepool.one: [e: e1] [node_request: 200-1] [node: 0000000007] all 3%",
        "INFO nodepool.one: [node: 0000000007] node",
        "WARNING nodepool.one: [e: e1] [node: 8] nested",
        "INFO nodepool.one: none",
    ]


def test_percent_signs_in_an_identifier_are_text() -> None:
    output = io.StringIO()
    logger = logs.annotate(_logger_to(output), event_id="100%s")
    logger.info("with %s", "argument")
    logger.info("without")
    assert output.getvalue().splitlines() == [
        "INFO nodepool.one: [e: 100%s] with argument",
        "INFO nodepool.one: [e: 100%s] without",
    ]


def test_every_line_of_a_traceback_has_the_prefix_and_the_annotation() -> None:
    output = io.StringIO()
    logger = logs.annotate(_logger_to(output), node_id="7")
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        logger.exception("failed")
    first, *rest = output.getvalue().splitlines()
    assert first == "ERROR nodepool.one: [node: 7] failed"
    assert rest[0] == "ERROR nodepool.one: [node: 7]   Traceback (most recent call last):"
    assert rest[-1] == "ERROR nodepool.one: [node: 7]   RuntimeError: boom"
    assert all(line.startswith("ERROR nodepool.one: [node: 7]   ") for line in rest)


def test_line_records_name_the_caller_and_carry_the_fields() -> None:
    output = io.StringIO()
    logger = logs.annotate(_logger_to(output, "%(filename)s %(funcName)s %(node_id)s"), node_id="7")
    logger.info("x")
    assert (
        output.getvalue() == f"{os.path.basename(__file__)} test_line_records_name_the_caller_and_carry_the_fields 7\n"
    )


def test_json_has_the_ids_beside_the_message_and_not_in_it() -> None:
    output = io.StringIO()
    logger = logs.annotate(_logger_with(nodepool.logconfig.JsonFormatter(), output), event_id="e1", node_id="7")
    logger.info("ready: %s\nat once \u2028\udcff", "all")
    entry = json.loads(output.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", entry.pop("time"))
    assert entry == {
        "level": "INFO",
        "logger": "nodepool.one",
        "thread": "MainThread",
        "message": "ready: all\nat once \u2028\udcff",
        "event_id": "e1",
        "node_id": "7",
    }


def test_json_is_one_ascii_line_also_with_a_traceback() -> None:
    output = io.StringIO()
    logger = _logger_with(nodepool.logconfig.JsonFormatter(), output)
    try:
        raise RuntimeError("böse\nzwei")
    except RuntimeError:
        logger.exception("failed", stack_info=True)
    text = output.getvalue()
    assert text.isascii()
    assert text.count("\n") == 1
    assert json.loads(text)["exception"].endswith("RuntimeError: böse\nzwei")
    assert json.loads(text)["stack"].startswith("Stack (most recent call last):")


def test_json_where_the_environment_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(logs.FORMAT_VARIABLE, "json")
    logs.set_up_daemon(None, foreground=True, debug=False, log_file="unused")
    logging.getLogger("nodepool.one").info("seen")
    assert json.loads(capsys.readouterr().out)["message"] == "seen"


def test_an_unknown_form_of_lines_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(logs.FORMAT_VARIABLE, "yaml")
    with pytest.raises(logs.LoggingConfigurationError, match=r"NODEPOOL_LOG_FORMAT is 'yaml': set it to 'text' or"):
        logs.set_up_daemon(None, foreground=True, debug=False, log_file="unused")


@pytest.mark.parametrize("name", ["logging.yaml", "logging.conf"])
def test_json_by_a_configuration_file(tmp_path: Path, name: str) -> None:
    log_file = tmp_path / "out.log"
    mapping = {
        "version": 1,
        "formatters": {"json": {"class": "nodepool.logconfig.JsonFormatter"}},
        "handlers": {"file": {"class": "logging.FileHandler", "filename": str(log_file), "formatter": "json"}},
        "loggers": {"nodepool": {"handlers": ["file"], "level": "INFO"}},
    }
    ini = (
        "[loggers]\nkeys=root,nodepool\n[handlers]\nkeys=file\n[formatters]\nkeys=json\n"
        "[logger_root]\nlevel=WARNING\nhandlers=\n"
        "[logger_nodepool]\nlevel=INFO\nhandlers=file\nqualname=nodepool\n"
        f"[handler_file]\nclass=FileHandler\nformatter=json\nargs=('{log_file}',)\n"
        "[formatter_json]\nclass=nodepool.logconfig.JsonFormatter\n"
    )
    (tmp_path / name).write_text(json.dumps(mapping) if name.endswith("yaml") else ini)
    logs.set_up_daemon(str(tmp_path / name), foreground=True, debug=False, log_file="unused")
    logs.annotate(logging.getLogger("nodepool.one"), node_id="7").info("seen")
    assert json.loads(log_file.read_text())["node_id"] == "7"
