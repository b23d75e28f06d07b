"""What the daemons have in common: their options, how they start, and how they end (spec cli 5).

Everything that can be found wrong is found before the process leaves the terminal, so that its caller is told.
"""

from __future__ import annotations

import argparse
import getpass
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from nodepool import __version__
from nodepool.cmd.pid_file import PidFile, PidFileError, detach
from nodepool.config.files import ConfigurationFiles, log_problems
from nodepool.config.problem import ConfigurationError, Problem, Severity
from nodepool.config.settings import Config
from nodepool.config.startup import check_startup
from nodepool.daemon.service import DaemonService
from nodepool.telemetry import logs, stack_dump

CONFIG_FILE = "/etc/nodepool/nodepool.yaml"
DAEMON_UMASK = 0o022

log = logging.getLogger("nodepool.NodePool")


def options_parser(program: str, description: str, pid_file: str) -> argparse.ArgumentParser:
    """A parser with the options of all daemons."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("-c", metavar="FILE", default=CONFIG_FILE, help="configuration (%(default)s)")
    parser.add_argument("-s", metavar="FILE", help="secure configuration")
    parser.add_argument("-l", metavar="FILE", help="logging configuration (.yaml, .json, or ini)")
    parser.add_argument("-p", metavar="FILE", default=pid_file, help="pid file of the daemon (%(default)s)")
    parser.add_argument("-f", action="store_true", help="stay in the foreground")
    parser.add_argument("-d", action="store_true", help="stay in the foreground and log everything")
    parser.add_argument("--repl", action="store_true", help="ignored; SIGUSR2 logs what each thread does")
    parser.add_argument("--version", action="version", version=f"Nodepool version: {__version__}")
    return parser


def main(
    program: str,
    options: argparse.Namespace,
    make: Callable[[ConfigurationFiles, Config], DaemonService],
    *,
    log_file: str,
    builder: bool = False,
) -> int:
    """Run a service. Returns 1 if it cannot start; ends the process with 0 after a signal.

    ``make`` makes the service and may raise ValueError or OSError with a message for the operator.
    """
    for name in "cslp":
        value = getattr(options, name)
        if value is not None:
            setattr(options, name, os.path.abspath(os.path.expanduser(value)))
    _on_stop_signals(lambda: sys.exit(0), lambda: sys.exit(0))
    pid_file = None if options.f or options.d else PidFile(options.p)
    try:
        files, config = _prepare(options, pid_file, log_file, builder)
        service = make(files, config)
    except (ConfigurationError, logs.LoggingConfigurationError, PidFileError, ValueError, OSError) as error:
        if pid_file is not None:
            pid_file.remove()
        return _refuse(program, error)
    if pid_file is not None:
        detach()
        pid_file.write()
    return _run(program, service, pid_file)


def _prepare(
    options: argparse.Namespace, pid_file: PidFile | None, log_file: str, builder: bool
) -> tuple[ConfigurationFiles, Config]:
    """Do all that may fail for a reason that the operator can mend."""
    files = ConfigurationFiles(options.c, options.s)
    config = files.load()
    problems = check_startup(config, options.c, builder=builder)
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise ConfigurationError(problems)
    if pid_file is not None:
        os.umask(DAEMON_UMASK)
        pid_file.take()
    logs.set_up_daemon(options.l, foreground=pid_file is None, debug=options.d, log_file=log_file)
    stack_dump.install()
    _name_user()
    log_problems((*config.warnings, *problems))
    if options.repl:
        log.warning("--repl is ignored: this release has no REPL; SIGUSR2 logs what each thread does")
    return files, config


def _name_user() -> None:
    """Give the user a name and a home: asyncssh asks for both, and a container's arbitrary user id has neither."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = str(os.getuid())
        os.environ.setdefault("HOME", "/")


def _run(program: str, service: DaemonService, pid_file: PidFile | None) -> NoReturn:
    """Run the service and end the process."""
    _on_stop_signals(service.stop, service.stop_now)
    status = 0
    try:
        service.run()
    except Exception:
        log.exception("%s has failed", program)
        status = 1
    if pid_file is not None:
        pid_file.remove()
    logging.shutdown()
    sys.stdout.flush()
    # Python would wait for threads that hang in a library's call: a name that is not resolved, a cloud that is mute.
    os._exit(status)


def _on_stop_signals(orderly: Callable[[], object], at_once: Callable[[], object]) -> None:
    """Spec operation 1; SIGUSR1 is the old name of SIGINT."""
    signal.signal(signal.SIGINT, lambda *_: orderly())
    signal.signal(signal.SIGUSR1, lambda *_: orderly())
    signal.signal(signal.SIGTERM, lambda *_: at_once())


def _refuse(program: str, error: Exception) -> int:
    problems: Sequence[object] = error.problems if isinstance(error, ConfigurationError) else [error]
    for problem in problems:
        mild = isinstance(problem, Problem) and problem.severity is Severity.WARNING
        print(f"{program}: {'warning: ' if mild else ''}{problem}", file=sys.stderr)
    return 1
