"""``nodepool-launcher``: reads the command line and the configuration, then runs the launcher (spec cli 5).

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
from nodepool.config.problem import ConfigurationError, Problem, Severity
from nodepool.config.startup import check_startup
from nodepool.launcher.configuration import ConfigurationFiles, log_problems
from nodepool.launcher.service import LauncherService
from nodepool.telemetry import logs, stack_dump

CONFIG_FILE = "/etc/nodepool/nodepool.yaml"
PID_FILE = "/var/run/nodepool/nodepool.pid"
DAEMON_UMASK = 0o022

log = logging.getLogger("nodepool.NodePool")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the launcher. Returns 1 if it cannot start; ends the process with 0 after a signal, 2 for wrong options."""
    options = _parse(arguments)
    _on_stop_signals(lambda: sys.exit(0), lambda: sys.exit(0))
    pid_file = None if options.f or options.d else PidFile(options.p)
    try:
        service = _prepare(options, pid_file)
    except (ConfigurationError, logs.LoggingConfigurationError, PidFileError, ValueError) as error:
        if pid_file is not None:
            pid_file.remove()
        return _refuse(error)
    if pid_file is not None:
        detach()
        pid_file.write()
    return _run(service, pid_file)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nodepool-launcher", description="Turns node requests into nodes.")
    parser.add_argument("-c", metavar="FILE", default=CONFIG_FILE, help="configuration (%(default)s)")
    parser.add_argument("-s", metavar="FILE", help="secure configuration")
    parser.add_argument("-l", metavar="FILE", help="logging configuration (.yaml, .json, or ini)")
    parser.add_argument("-p", metavar="FILE", default=PID_FILE, help="pid file of the daemon (%(default)s)")
    parser.add_argument("-f", action="store_true", help="stay in the foreground")
    parser.add_argument("-d", action="store_true", help="stay in the foreground and log everything")
    parser.add_argument("--no-webapp", action="store_true", help="no web server (this release has none)")
    parser.add_argument("--version", action="version", version=f"Nodepool version: {__version__}")
    options = parser.parse_args(arguments)
    for name in "cslp":
        value = getattr(options, name)
        if value is not None:
            setattr(options, name, os.path.abspath(os.path.expanduser(value)))
    return options


def _prepare(options: argparse.Namespace, pid_file: PidFile | None) -> LauncherService:
    """Do all that may fail for a reason that the operator can mend."""
    files = ConfigurationFiles(options.c, options.s)
    config = files.load()
    problems = check_startup(config, options.c)
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise ConfigurationError(problems)
    if pid_file is not None:
        os.umask(DAEMON_UMASK)
        pid_file.take()
    logs.set_up_daemon(options.l, foreground=pid_file is None, debug=options.d, log_file=logs.LAUNCHER_LOG)
    stack_dump.install()
    _name_user()
    log_problems((*config.warnings, *problems))
    return LauncherService(files, config)


def _name_user() -> None:
    """Give the user a name and a home: asyncssh asks for both, and a container's arbitrary user id has neither."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = str(os.getuid())
        os.environ.setdefault("HOME", "/")


def _run(service: LauncherService, pid_file: PidFile | None) -> NoReturn:
    """Run the service and end the process."""
    _on_stop_signals(service.stop, service.stop_now)
    status = 0
    try:
        service.run()
    except Exception:
        log.exception("The launcher has failed")
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


def _refuse(error: Exception) -> int:
    problems: Sequence[object] = error.problems if isinstance(error, ConfigurationError) else [error]
    for problem in problems:
        mild = isinstance(problem, Problem) and problem.severity is Severity.WARNING
        print(f"nodepool-launcher: {'warning: ' if mild else ''}{problem}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
