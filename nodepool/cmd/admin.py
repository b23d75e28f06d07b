"""``nodepool``: reads the command line, connects to ZooKeeper and runs one command (spec cli 1 and 2).

Exit status: 0 done; 1 not found, refused, timed out or ZooKeeper not reached; 2 wrong usage; 130 after Ctrl-C; 141 when
nobody reads the output any more.
"""

from __future__ import annotations

import argparse
import dataclasses
import getpass
import io
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial

from nodepool import __version__
from nodepool.admin import commands, draining, login
from nodepool.admin.failure import CommandFailed
from nodepool.admin.operator import Operator, show_json, tell
from nodepool.cmd import completion, image_commands, list_options, node_commands
from nodepool.cmd.old_words import OLD_WORDS
from nodepool.config.load import load, validate
from nodepool.config.problem import ConfigurationError, ConfigurationMissing, Severity
from nodepool.config.settings import Config
from nodepool.config.startup import check_startup
from nodepool.model.component import LAUNCHER
from nodepool.telemetry import logs
from nodepool.zk.client import Client, ZooKeeperError, connect
from nodepool.zk.tls import TLSFiles

CONFIG_FILE = "/etc/nodepool/nodepool.yaml"
DONE, FAILED, WRONG_USAGE, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status. Raises SystemExit for ``--help``, ``--version`` and wrong usage."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = _run(arguments)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # What is still buffered would raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except ConfigurationError as error:
        return _refuse(*map(str, error.problems), *_hint(error))
    except (CommandFailed, ZooKeeperError, logs.LoggingConfigurationError, OSError, ValueError) as error:
        return _refuse(str(error))


def _run(arguments: Sequence[str] | None) -> int:
    parser = _parser()
    completion.answer(parser, OLD_WORDS)
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return FAILED
    if options.command in OLD_WORDS:
        tell(f"nodepool: {options.command} is of an older Nodepool: {OLD_WORDS[options.command]}")
        return WRONG_USAGE
    if options.command == "completion":
        print(completion.script(options.shell))
        return DONE
    _expand_paths(options)
    logs.set_up_command(options.l, debug=options.debug)
    if options.command == "config-validate":
        return _validate(options.c, options.s, as_json=options.json)
    config = _configuration(options.c, options.s)
    with _connected(config, options.wait) as client:
        operator = Operator(client, config, _who(), time.time, threading.Event().wait)
        if options.command != "ssh":
            _perform(options, operator)
            sys.stdout.flush()
            return DONE
        node = login.recorded_node(operator, options.id)
    return login.log_in(node, options.arguments)


def _perform(options: argparse.Namespace, operator: Operator) -> None:
    match options.command:
        case "info":
            commands.info(operator, options.provider, as_json=options.json)
        case "erase":
            commands.erase(operator, options.provider, force=options.force)
        case "drain" | "resume":
            act = draining.drain if options.command == "drain" else draining.resume
            act(
                operator, *((LAUNCHER, options.launcher) if options.launcher else (draining.PROVIDER, options.provider))
            )
        case _:
            if options.command == "request" or getattr(options, "watch", None) is not None:
                _end_by_signals()
            if not node_commands.perform(options, operator):
                image_commands.perform(options, operator)


def _validate(path: str, secure_path: str | None, *, as_json: bool) -> int:
    problems = validate(path, secure_path)
    errors = sum(1 for problem in problems if problem.severity is Severity.ERROR)
    if as_json:
        show_json([dataclasses.asdict(problem) for problem in problems])
        return FAILED if errors else DONE
    for problem in problems:
        tell(f"{problem} (warning)" if problem.severity is Severity.WARNING else str(problem))
    names = path if secure_path is None else f"{path} with {secure_path}"
    if errors:
        tell(f"nodepool: {names}: not valid, {errors} {'error' if errors == 1 else 'errors'}")
        return FAILED
    print(f"{names}: valid")
    return DONE


def _configuration(path: str, secure_path: str | None) -> Config:
    config = load(path, secure_path)
    fatal = [problem for problem in check_startup(config, path) if problem.severity is Severity.ERROR]
    if fatal:
        raise ConfigurationError(fatal)
    return config


def _connected(config: Config, patience: float | None) -> Client:
    settings = config.zookeeper
    tls = TLSFiles(settings.tls.cert, settings.tls.key, settings.tls.ca) if settings.tls else None
    hosts = settings.connect_string.removesuffix(settings.chroot)
    try:
        return connect(hosts, settings.chroot, tls, settings.timeout, patience)
    except ZooKeeperError as error:
        advice = "is it running, and are zookeeper-servers and zookeeper-tls right?"
        raise CommandFailed(f"{error} (waited {patience:g} s; {advice})") from None


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, ImportError, OSError):
        user = str(os.getuid())
    return f"NodePool:cli:{user}@{socket.gethostname()}"


def _end_by_signals() -> None:
    """Have what a terminal or a supervisor sends at its end act as Ctrl-C does, unless it is ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def _refuse(*messages: str) -> int:
    for message in messages:
        tell(f"nodepool: {message}")
    return FAILED


def _hint(error: ConfigurationError) -> tuple[str, ...]:
    if not isinstance(error, ConfigurationMissing):
        return ()
    return ("name the configuration with -c FILE, a secure file with -s FILE",)


def _expand_paths(options: argparse.Namespace) -> None:
    for name in ("c", "s", "l"):
        if getattr(options, name) is not None:
            setattr(options, name, os.path.abspath(os.path.expanduser(getattr(options, name))))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nodepool", description="Shows and changes what Nodepool keeps in ZooKeeper.")
    parser.add_argument("-c", metavar="FILE", default=CONFIG_FILE, help="configuration (%(default)s)")
    parser.add_argument("-s", metavar="FILE", help="secure configuration")
    parser.add_argument("-l", metavar="FILE", help="logging configuration (.yaml, .json, or ini)")
    parser.add_argument("--debug", action="store_true", help="log everything to standard error")
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=list_options.seconds,
        help="give up when ZooKeeper is not reached (default: never)",
    )
    parser.add_argument("--version", action="version", version=f"Nodepool version: {__version__}")
    added = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    node_commands.add(partial(_command, added))
    _add_provider_commands(added)
    image_commands.add(partial(_command, added))
    completing = _command(added, "completion", "write what a shell has to run to complete command lines")
    completing.add_argument("shell", metavar="SHELL", choices=completion.SHELLS, help=" or ".join(completion.SHELLS))
    for word in OLD_WORDS:
        # With a prefix that nobody types, its old options are ordinary words.
        added.add_parser(word, add_help=False, prefix_chars="\0").add_argument("rest", nargs="*")
    return parser


Subparsers = argparse._SubParsersAction  # argparse names this type nowhere else.


def _add_provider_commands(added: Subparsers[argparse.ArgumentParser]) -> None:
    showing = _command(added, "info", "show what ZooKeeper holds of a provider", as_json=True)
    showing.add_argument("provider", metavar="PROVIDER")
    erasing = _command(added, "erase", "remove what ZooKeeper holds of a provider; its cloud is not touched")
    erasing.add_argument("provider", metavar="PROVIDER")
    for name, summary in (("drain", "have launchers take nothing new"), ("resume", "end a drain")):
        whose = _command(added, name, summary).add_mutually_exclusive_group(required=True)
        whose.add_argument("provider", metavar="PROVIDER", nargs="?", help="for this provider")
        whose.add_argument("--launcher", metavar="HOST", help="not for a provider, but the launcher on this host")
    erasing.add_argument("--force", action="store_true", help="do not ask")
    _command(added, "config-validate", "check the configuration; ZooKeeper is not needed", as_json=True)


def _command(
    added: Subparsers[argparse.ArgumentParser], name: str, summary: str, *, as_json: bool = False
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = added.add_parser(
        name, help=summary, description=f"{summary[:1].upper()}{summary[1:]}."
    )
    if as_json:
        parser.add_argument("--json", action="store_true", help="write JSON instead of tables")
    return parser


if __name__ == "__main__":
    sys.exit(main())
