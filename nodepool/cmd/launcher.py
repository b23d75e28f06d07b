"""``nodepool-launcher``: reads the command line and the configuration, then runs the launcher (spec cli 5)."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nodepool.cmd import daemon
from nodepool.cmd.web import show_launcher
from nodepool.config.files import ConfigurationFiles
from nodepool.config.settings import Config
from nodepool.launcher.service import LauncherService
from nodepool.telemetry import logs

PROGRAM = "nodepool-launcher"
PID_FILE = "/var/run/nodepool/nodepool.pid"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the launcher. Returns 1 if it cannot start; ends the process with 0 after a signal, 2 for wrong options."""
    parser = daemon.options_parser(PROGRAM, "Turns node requests into nodes.", PID_FILE)
    parser.add_argument("--no-webapp", action="store_true", help="no web server")
    options = parser.parse_args(arguments)

    def make(files: ConfigurationFiles, config: Config) -> LauncherService:
        service = LauncherService(files, config)
        if not options.no_webapp:
            show_launcher(service, config.webapp)
        return service

    return daemon.main(PROGRAM, options, make, log_file=logs.LAUNCHER_LOG)


if __name__ == "__main__":
    sys.exit(main())
