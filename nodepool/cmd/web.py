"""Puts a web server beside a daemon, if its configuration wants one."""

from __future__ import annotations

from nodepool.config.settings import WebappSettings
from nodepool.daemon.service import DaemonService
from nodepool.model.component import BUILDER, LAUNCHER
from nodepool.web import lists
from nodepool.web.endpoint import open_endpoint
from nodepool.web.pages import Daemon
from nodepool.web.server import WebServer


def show_launcher(service: DaemonService, settings: WebappSettings) -> None:
    """Have a launcher tell what it knows by HTTP. Raises ValueError, with a message for the operator."""
    daemon = Daemon(LAUNCHER, lists.OF_THE_LAUNCHER, service.stuck_for, service.exposition)
    service.shown_to(WebServer(open_endpoint(settings, settings.port, "webapp.port"), daemon))


def show_builder(service: DaemonService, settings: WebappSettings) -> None:
    """The same for a builder, if it has a port. Raises ValueError."""
    if settings.builder_port is None:
        return
    daemon = Daemon(BUILDER, lists.OF_THE_BUILDER, service.stuck_for, service.exposition)
    endpoint = open_endpoint(settings, settings.builder_port, "webapp.builder-port")
    service.shown_to(WebServer(endpoint, daemon))
