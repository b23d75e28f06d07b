"""``nodepool top``: the overview, live at a terminal, else once."""

from __future__ import annotations

import sys

from nodepool.admin import overview
from nodepool.admin.live import Screen, heading, moments
from nodepool.admin.operator import Operator, show_json
from nodepool.admin.snapshot import snapshot
from nodepool.admin.table import render
from nodepool.zk import paths
from nodepool.zk.mirror import Mirror

_ROOTS = (paths.NODES, paths.REQUESTS, paths.IMAGES, paths.COMPONENTS, paths.DRAINED)


def show_top(operator: Operator, interval: float, *, as_json: bool) -> None:
    """Show the overview: at a terminal until Ctrl-C, with a page at least every ``interval`` seconds."""
    if as_json:
        mirror = snapshot(operator.client, *_ROOTS)
        pools, waiting = overview.pools(mirror, operator.config), overview.waiting(mirror, operator.clock())
        show_json({**overview.summary(mirror), "pools": pools, "waiting": waiting})
    elif sys.stdout.isatty():
        with Screen() as screen:
            for mirror, _ in moments(operator, _ROOTS, interval):
                screen.draw([*heading(operator, "Nodepool"), *_page(operator, mirror)])
    else:
        print("\n".join(_page(operator, snapshot(operator.client, *_ROOTS))))


def _page(operator: Operator, mirror: Mirror) -> list[str]:
    pools = render(overview.POOL_COLUMNS, overview.pools(mirror, operator.config))
    waiting = render(overview.WAITING_COLUMNS, overview.waiting(mirror, operator.clock()))
    return [*overview.summary_lines(overview.summary(mirror)), *pools.splitlines(), *waiting.splitlines()]
