"""Where log lines go, how they look, and which request and node they belong to (spec cli 6, launcher 11 and 12).

The programs call :func:`set_up_daemon` or :func:`set_up_command` once, before they start a thread; everything else only
asks ``logging.getLogger("nodepool...")`` for a logger and, where a request or node is known, :func:`annotate` for a
prefix. This module must never decide what is worth a line.
"""

from __future__ import annotations

import configparser
import copy
import json
import logging
import logging.config
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

import yaml

LINE_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
LAUNCHER_LOG = "/var/log/nodepool/nodepool.log"
BUILDER_LOG = "/var/log/nodepool/nodepool-builder.log"
FORMAT_VARIABLE = "NODEPOOL_LOG_FORMAT"
"""The environment variable that chooses the form of a daemon's lines where no configuration file does."""

_LIBRARIES = ("requests", "openstack", "kazoo")
_CHATTY_FOR_COMMANDS = ("nodepool.zk", "nodepool.ComponentRegistry")
_DICT_CONFIG_SUFFIXES = (".yaml", ".yml", ".json")
_LABELS = {"event_id": "e", "node_request_id": "node_request", "node_id": "node"}
"""Attributes of log records, and what stands for them in a line."""


class LoggingConfigurationError(Exception):
    """Logging cannot be set up as asked; the message says which file, why, and what to do."""


def set_up_daemon(config_file: str | None, *, foreground: bool, debug: bool, log_file: str) -> None:
    """Set up logging of a daemon.

    ``config_file`` (``-l``) wins. Without it lines go to standard output in the foreground, else to ``log_file``, which
    is opened again after it was rotated: INFO (``debug``: DEBUG) and above from Nodepool, WARNING and above from the
    libraries that Nodepool rests on, nothing from others. Each line is a JSON object if :data:`FORMAT_VARIABLE` says
    ``json``.

    Raises :class:`LoggingConfigurationError`.
    """
    if config_file is not None:
        _from_file(config_file)
        return
    formatter = _chosen_formatter()
    handler = logging.StreamHandler(sys.stdout) if foreground else _log_file_handler(log_file)
    _defaults(handler, debug, formatter)


def set_up_command(config_file: str | None, *, debug: bool) -> None:
    """Set up logging of ``nodepool``: standard error, INFO and above, of the session with ZooKeeper WARNING and above.

    ``debug`` (``--debug``) shows everything from Nodepool, and wins over ``config_file`` (``-l``).

    Raises :class:`LoggingConfigurationError`.
    """
    if config_file is not None and not debug:
        _from_file(config_file)
        return
    _defaults(logging.StreamHandler(sys.stderr), debug, MultiLineFormatter(LINE_FORMAT))
    for name in _CHATTY_FOR_COMMANDS:
        logging.getLogger(name).setLevel(logging.NOTSET if debug else logging.WARNING)


def _chosen_formatter() -> logging.Formatter:
    chosen = os.environ.get(FORMAT_VARIABLE) or "text"
    if chosen not in ("text", "json"):
        raise LoggingConfigurationError(f"{FORMAT_VARIABLE} is {chosen!r}: set it to 'text' or 'json', or unset it.")
    return JsonFormatter() if chosen == "json" else MultiLineFormatter(LINE_FORMAT)


def _defaults(handler: logging.Handler, debug: bool, formatter: logging.Formatter) -> None:
    handler.setFormatter(formatter)
    # Without any handler at the root, Python prints warnings of other loggers to standard error.
    logging.getLogger().handlers[:] = [logging.NullHandler()]
    levels = {"nodepool": logging.DEBUG if debug else logging.INFO} | dict.fromkeys(_LIBRARIES, logging.WARNING)
    for name, level in levels.items():
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.handlers[:] = [handler]


def _log_file_handler(path: str) -> logging.Handler:
    try:
        return WatchedFileHandler(path, encoding="utf-8")
    except OSError as error:
        raise LoggingConfigurationError(
            f"Unable to write the log file {path}: {error.strerror}. "
            "Make its directory writable for this user, give a logging configuration with -l, or use -f."
        ) from error


def _from_file(path: str) -> None:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LoggingConfigurationError(f"Unable to read logging config file at {path}: {error}") from error
    try:
        if path.endswith(_DICT_CONFIG_SUFFIXES):
            _apply_mapping(text)
        else:
            _apply_ini(text)
    # Both readers call whatever handler the file names, and report most mistakes as ValueError.
    except (ValueError, TypeError, KeyError, AttributeError, ImportError, OSError, SyntaxError, NameError) as error:
        cause = f" ({error.__cause__})" if error.__cause__ and str(error.__cause__) not in str(error) else ""
        reason = " ".join(f"{error or type(error).__name__}{cause}".split())
        raise LoggingConfigurationError(
            f"The logging config file {path} cannot be used: {reason}. "
            "Names ending in .yaml, .yml or .json are read as Python's dictConfig, all others as its fileConfig."
        ) from error


def _apply_mapping(text: str) -> None:
    try:
        configuration = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {error}") from None
    if not isinstance(configuration, dict):
        raise ValueError("expected a mapping at the top")
    # Loggers are made when modules are imported, so all of ours exist by now: they must stay on.
    configuration.setdefault("disable_existing_loggers", False)
    logging.config.dictConfig(configuration)


def _apply_ini(text: str) -> None:
    parser = configparser.ConfigParser()
    try:
        parser.read_string(text)
        logging.config.fileConfig(parser, disable_existing_loggers=False)
    except configparser.Error as error:
        raise ValueError(str(error)) from error


class MultiLineFormatter(logging.Formatter):
    """Gives every line of a message, of a traceback and of a stack the full prefix, so that a grep finds all of them.

    Lines after the first are indented by two blanks (spec cli 6).
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of ``record``: one or more complete lines."""
        first, *rest = super().format(record).split("\n")
        if not rest:
            return first
        line_record = copy.copy(record)
        annotation = _annotation(record.__dict__)
        lines = [first]
        for text in rest:
            line_record.message = f"{annotation}  {text}"
            lines.append(self.formatMessage(line_record))
        return "\n".join(lines)


class JsonFormatter(logging.Formatter):
    """Makes one JSON object of each record, in one line of ASCII, for systems that collect logs.

    ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``thread`` and ``message``, without the ids in front of it;
    ``event_id``, ``node_request_id`` and ``node_id`` where known; ``exception`` and ``stack`` where there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of ``record``."""
        values = record.__dict__
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "thread": record.threadName,
            "message": record.getMessage().removeprefix(_annotation(values)),
        }
        entry |= {name: str(values[name]) for name in _LABELS if values.get(name) is not None}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            entry["stack"] = self.formatStack(record.stack_info)
        return json.dumps(entry)


class AnnotatedLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines begin with the event, request and node they are about. Made by :func:`annotate`.

    The three values are also attributes of the log record (``event_id``, ``node_request_id``, ``node_id``) for
    handlers that write structured logs.
    """

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log ``msg`` at ``level`` with the annotation in front of it."""
        if not self.isEnabledFor(level):
            return
        fields = self.extra or {}
        prefix = _annotation(fields)
        if args:
            prefix = prefix.replace("%", "%%")
        kwargs["extra"] = {**fields, **(kwargs.get("extra") or {})}
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        self.logger.log(level, f"{prefix}{msg}", *args, **kwargs)


def annotate(
    logger: logging.Logger | AnnotatedLogger,
    *,
    event_id: str | None = None,
    node_request_id: str | None = None,
    node_id: str | None = None,
) -> AnnotatedLogger:
    """Return a logger that writes ``[e: EVENT] [node_request: ID] [node: ID] message`` (spec launcher 11).

    Each part appears only when known. An annotated logger may be annotated further. Cheap; from any thread.
    """
    fields: dict[str, object] = {}
    if isinstance(logger, AnnotatedLogger):
        fields.update(logger.extra or {})
        logger = logger.logger
    given = {"event_id": event_id, "node_request_id": node_request_id, "node_id": node_id}
    fields.update({name: value for name, value in given.items() if value is not None})
    return AnnotatedLogger(logger, fields)


def _annotation(fields: Mapping[str, object]) -> str:
    return "".join(f"[{label}: {fields[name]}] " for name, label in _LABELS.items() if fields.get(name) is not None)
