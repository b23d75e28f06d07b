"""What a daemon must have besides a valid file: checked when it starts, not by ``config-validate``.

A file may be valid without these things: a launcher needs no ``images-dir``, ZooKeeper access may stand in the secure
file, and the machine that validates a file need not hold the keys.
"""

from __future__ import annotations

import os

from nodepool.config.problem import Problem, Severity
from nodepool.config.settings import Config, TLSSettings


def check_tls_files(tls: TLSSettings, file: str) -> list[Problem]:
    """Open each PEM file once, so that a wrong path gives a clear error and not a failed handshake.

    :param file: the configuration file to name in problems.
    """
    problems = []
    for key, path in (("cert", tls.cert), ("key", tls.key), ("ca", tls.ca)):
        try:
            with open(path, "rb") as stream:
                pem = b"-----BEGIN " in stream.read()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            problems.append(Problem(file, None, f"zookeeper-tls.{key}", f"{path} cannot be read: {reason}"))
            continue
        if not pem:
            message = f"{path} is not a PEM file (it has no '-----BEGIN' line)"
            problems.append(Problem(file, None, f"zookeeper-tls.{key}", message))
    return problems


def check_servers(config: Config, file: str) -> list[Problem]:
    """Whether ZooKeeper servers are given, in either file; also for a reload.

    :param file: the configuration file to name in problems.
    """
    if config.zookeeper.servers:
        return []
    message = "no ZooKeeper servers are given (write '- host: NAME' below this key, here or in the secure file)"
    return [Problem(file, None, "zookeeper-servers", message)]


def check_startup(config: Config, file: str, *, builder: bool = False) -> list[Problem]:
    """What is missing for a program that connects to ZooKeeper, and for the builder also for building.

    :param file: the main configuration file, to name in problems.
    """
    problems = check_servers(config, file)
    if config.zookeeper.tls is not None:
        problems += check_tls_files(config.zookeeper.tls, file)
    return problems + (_check_builder(config, file) if builder else [])


def _check_builder(config: Config, file: str) -> list[Problem]:
    problems = []
    if not config.images_dir:
        message = "the builder needs this key: the directory where image files are written"
        problems.append(Problem(file, None, "images-dir", message))
    for directory in (config.elements_dir or "").split(os.pathsep):
        if directory and not os.path.isdir(directory):
            message = f"there is no directory {directory}: its elements will be missing in builds"
            problems.append(Problem(file, None, "elements-dir", message, Severity.WARNING))
    return problems
