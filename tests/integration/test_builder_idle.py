"""A builder with many images and nothing to do asks nobody for anything, but keeps its session alive."""

from __future__ import annotations

import re
import time

import pytest

from tests.zookeeper import eventually
from tools.bench.image_site import ImageSite
from tools.bench.site import Site, site
from tools.zookeeper import ask

IMAGES, PROVIDERS = 100, 10
MINUTE = 60.0
PINGS = 30
"""Most requests a minute: one each 3 seconds or so keeps a session of 10 seconds alive, and nothing else is asked."""


@pytest.mark.slow
def test_an_idle_builder_asks_zookeeper_for_nothing() -> None:
    with site(durable=False) as place, ImageSite(place, IMAGES, PROVIDERS) as images:
        images.fill()
        with images.program("builder"):
            eventually(lambda: _is_idle_for_a_minute(place), 3 * MINUTE, pause=0.5)
        log = (place.directory / "builder.log").read_text()
        assert not any(word in log for word in ("Removing", "Building", "Uploading", "Deleting", "ERROR")), log


def _is_idle_for_a_minute(place: Site) -> bool:
    """Watches for a minute; False as soon as there was more than there may be in all of it."""
    requests, writes, end = _requests(place), place.zxid(), time.monotonic() + MINUTE
    while time.monotonic() < end:
        if _requests(place) - requests > PINGS or place.zxid() != writes:
            return False
        time.sleep(1.0)
    return True


def _requests(place: Site) -> int:
    """What the one session that there is has asked for so far; pings count."""
    (session,) = (line for line in ask(place.port, b"cons", 2.0).splitlines() if "sid=" in line)
    found = re.search(r"recved=(\d+)", session)
    assert found
    return int(found[1])
