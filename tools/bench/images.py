"""Measurements of the builder, alone and beside a launcher: each returns lines for people to read."""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kazoo.client import KazooClient

from nodepool.zk import paths
from nodepool.zk.session import KazooStore
from nodepool.zk.store import Batch
from tools.bench import requestor
from tools.bench.image_site import ImageSite
from tools.bench.site import Site, client, cpu_seconds, wait_for

SETTLE = 10.0
"""Seconds after the start in which a builder looks at everything once."""


def idle(place: Site, images: int = 100, providers: int = 10, seconds: float = 120.0) -> list[str]:
    """A builder with many images that are all as they should be."""
    with ImageSite(place, images, providers) as site:
        site.fill()
        began = time.monotonic()
        with site.program("builder") as process:
            registered = time.monotonic() - began
            time.sleep(SETTLE)
            calls, packets, writes = _calls(site), place.requests(), place.zxid()
            start, cpu, began = cpu_seconds(process.pid), 0.0, time.monotonic()
            time.sleep(seconds)
            cpu, minutes = cpu_seconds(process.pid) - start, (time.monotonic() - began) / 60
            return [
                f"{images} images x {providers} providers, {images * providers * 2} uploads: registered after "
                f"{registered:.1f} s, {start:.1f} s of CPU for the start",
                f"idle, a minute: {cpu / minutes:.2f} s of CPU ({cpu / minutes / 0.6:.2f} % of a core; wanted: 1 %), "
                f"{(place.requests() - packets) / minutes:.0f} requests to ZooKeeper, "
                f"{place.zxid() - writes} writes in all, {(_calls(site) - calls) / minutes:.1f} API calls",
            ]


def handover(place: Site, rounds: int = 10, rate: float = 20.0) -> list[str]:
    """From a new upload to the first launch that uses it, and from its deletion to the first that does not."""
    with ImageSite(place, 1, 1) as site, site.program("builder"), site.program("launcher"), client(place) as zookeeper:
        watch = _Watch(place)
        try:
            image = site.images[0]
            wait_for(lambda: watch.ready, "the first upload")
            new, old = [], []
            with _Stream(zookeeper, image, rate):
                wait_for(lambda: watch.launches, "the first launch")
                for _ in range(rounds):
                    new.append(_new_upload(zookeeper, image, watch))
                    old.append(_deleted_upload(zookeeper, watch))
        finally:
            watch.close()
        return [_told("a new upload is ready", new, rate), _told("the newest upload is deleted", old, rate)]


MEASURES: dict[str, Callable[[Site], list[str]]] = {"images-idle": idle, "images-handover": handover}


@dataclass(frozen=True, slots=True)
class _Change:
    """Milliseconds from a change of what is the newest upload."""

    first: float
    """To the first launch after it that does not use what was the newest before."""
    last: float
    """To the last launch that used what was the newest before; 0 if there was none."""


def _new_upload(zookeeper: KazooClient, image: str, watch: _Watch) -> _Change:
    wait_for(lambda: not zookeeper.exists(paths.build_request(image)), "the build before")
    before = watch.newest
    builds = {path.split("/")[5] for path in watch.ready}
    zookeeper.create(paths.build_request(image))
    wait_for(lambda: watch.newest.split("/")[5] not in builds, "a new upload")
    return watch.change(before, watch.ready[watch.newest])


def _deleted_upload(zookeeper: KazooClient, watch: _Watch) -> _Change:
    """As ``nodepool image-delete`` does."""
    before = watch.newest
    data, stat = zookeeper.get(before)
    now = time.time()
    record = {**json.loads(data), "state": "deleting", "state_time": now}
    zookeeper.set(before, json.dumps(record).encode(), stat.version)
    return watch.change(before, now)


def _told(what: str, changes: list[_Change], rate: float) -> str:
    first = sorted(change.first for change in changes)
    return (
        f"{what}, {len(changes)} times, {rate:g} requests a second: first launch that heeds it after "
        f"median {statistics.median(first):.0f} ms, longest {first[-1]:.0f} ms; "
        f"last that does not after {max(change.last for change in changes):.0f} ms (wanted: below 1 s)"
    )


def _calls(site: ImageSite) -> int:
    """API calls so far, all regions together."""
    accounting = site.cloud.control.accounting()
    tables = [accounting["identity"]["calls"], *(region["calls"] for region in accounting["regions"].values())]
    return sum(int(entry["count"]) for table in tables for entry in table.values())


class _Watch:
    """Sees all uploads become ready, and all launches with their uploads; times are those of the records (epoch)."""

    def __init__(self, place: Site) -> None:
        self.ready: dict[str, float] = {}
        """Path of an upload that is ready, to when it became so."""
        self.launches: dict[str, tuple[float, str]] = {}
        """Node to the time when it was begun, and from which upload."""
        self._store = KazooStore(place.zookeeper.hosts)
        self._store.start()
        self._store.wait_connected(20)
        self._store.feed([paths.IMAGES, paths.NODES], self._take)

    @property
    def newest(self) -> str:
        """The newest ready upload."""
        return max(dict(self.ready).items(), key=lambda item: item[1])[0]

    def change(self, before: str, at: float) -> _Change:
        """Wait for the first launch that heeds a change."""

        def heeding() -> list[float]:
            return [time for time, upload in list(self.launches.values()) if upload != before and time >= at]

        wait_for(heeding, "a launch")
        late = [time for time, upload in list(self.launches.values()) if upload == before and time >= at]
        return _Change((min(heeding()) - at) * 1000, (max(late, default=at) - at) * 1000)

    def close(self) -> None:
        """End it."""
        self._store.close()

    def _take(self, batch: Batch) -> None:
        for path, datum in batch.entries.items():
            kind, name = Path(path).parts[2], Path(path).name
            record = json.loads(datum.data) if datum is not None and datum.data[:1] == b"{" else {}
            if kind == "images" and Path(path).parent.name == "images":
                self.ready.pop(path, None)
                if record.get("state") == "ready":
                    self.ready[path] = record["state_time"]
            elif kind == "nodes" and record.get("state") == "building" and record.get("image_id"):
                self.launches.setdefault(name, (record["state_time"], record["image_id"]))


class _Stream:
    """Asks for nodes at a rate, until it ends."""

    def __init__(self, zookeeper: KazooClient, label: str, rate: float) -> None:
        self._zookeeper = zookeeper
        self._label = label
        self._pause = 1 / rate
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _Stream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._pause):
            data = requestor.record(label=self._label)
            self._zookeeper.create(f"{paths.REQUESTS}/200-", data, sequence=True, makepath=True)
