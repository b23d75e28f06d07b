"""``nodepool explain``: why a request waits, what a node is doing, where an image is missing. Changes nothing."""

from __future__ import annotations

from nodepool.admin.explain_image import explain_image
from nodepool.admin.explain_node import explain_node
from nodepool.admin.explain_request import explain_request
from nodepool.admin.explanation import Explanation, Site
from nodepool.admin.failure import CommandFailed
from nodepool.admin.operator import Operator, show_json
from nodepool.admin.snapshot import find_node
from nodepool.admin.table import printable
from nodepool.zk import paths

_ROOTS = (paths.NODES, paths.REQUESTS, paths.REQUEST_LOCKS, paths.IMAGES, paths.COMPONENTS, paths.DRAINED)


def explain(operator: Operator, name: str, *, as_json: bool) -> None:
    """Explain the request, the node or the image of this name. Raises :class:`CommandFailed` if there is none."""
    site = Site(operator.client.tree(_ROOTS), operator.config, operator.clock())
    found = explanation(site, name)
    if as_json:
        show_json(found.as_json())
    else:
        print("\n".join(_lines(found)))


def explanation(site: Site, name: str) -> Explanation:
    """The explanation of the request, the node or the image of this name. Raises :class:`CommandFailed`."""
    mirror = site.mirror
    if name in mirror.requests:
        request = mirror.requests[name]
        if request.record is None:
            raise CommandFailed(f"Request {printable(name)} cannot be read: {printable(request.problem)}")
        return explain_request(site, request.record)
    if name in mirror.nodes:
        return explain_node(site, find_node(mirror, name)[0])
    if name in site.config.diskimages or name in mirror.images:
        return explain_image(site, name)
    raise CommandFailed(
        f"There is no request, node or image {printable(name)}; requests and nodes go when they are done"
    )


def _lines(found: Explanation) -> list[str]:
    lines = [found.summary, *(f"  - {detail}" for detail in found.details)]
    for pool in found.pools:
        reasons = "; ".join(pool["reasons"])
        lines.append(f"  {pool['pool']} {pool['answer']}{': ' if reasons else ''}{reasons}")
    return lines
