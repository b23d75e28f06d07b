"""``nodepool-builder``: reads the command line and the configuration, then runs the builder (spec cli 5)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from nodepool.builder.files import ImagesDirectoryInUse
from nodepool.builder.service import BuilderService
from nodepool.builder.state import Workers
from nodepool.cmd import daemon
from nodepool.cmd.web import show_builder
from nodepool.config.files import ConfigurationFiles
from nodepool.config.settings import Config
from nodepool.telemetry import logs

PROGRAM = "nodepool-builder"
PID_FILE = "/var/run/nodepool/nodepool-builder.pid"
BUILD_WORKERS, UPLOAD_WORKERS = 1, 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the builder. Returns 1 if it cannot start; ends the process with 0 after a signal, 2 for wrong options."""
    parser = daemon.options_parser(PROGRAM, "Builds disk images and uploads them to clouds.", PID_FILE)
    parser.add_argument(
        "--build-workers",
        metavar="N",
        type=_count,
        default=BUILD_WORKERS,
        help="most builds at once; 0: none, only upload (%(default)s)",
    )
    parser.add_argument(
        "--upload-workers",
        metavar="N",
        type=_count,
        default=UPLOAD_WORKERS,
        help="most uploads at once; each provider may always have one (%(default)s)",
    )
    options = parser.parse_args(arguments)
    workers = Workers(options.build_workers, options.upload_workers)

    def make(files: ConfigurationFiles, config: Config) -> BuilderService:
        try:
            service = BuilderService(files, config, workers)
        except ImagesDirectoryInUse as error:
            raise ValueError(f"images-dir: {error}") from error
        except OSError as error:
            place, trouble = error.filename or config.images_dir, error.strerror or error
            advice = "create it and let this account write there, or name another directory"
            raise ValueError(f"images-dir: {place} cannot be used: {trouble} ({advice})") from error
        show_builder(service, config.webapp)
        return service

    return daemon.main(PROGRAM, options, make, log_file=logs.BUILDER_LOG, builder=True)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of workers (0, 1, 2 ...)")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
