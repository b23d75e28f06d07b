"""Builds with the stub of ``disk-image-create`` (``tests/stub_dib``): orders, and what became of them."""

from __future__ import annotations

import queue
from dataclasses import replace
from pathlib import Path

from nodepool.builder.dib.order import BuildOrder, BuildResult
from nodepool.builder.dib.processes import processes
from nodepool.builder.dib.runner import DibRunner
from nodepool.builder.files import WORK
from nodepool.config.settings import DiskImage
from tests.zookeeper import eventually

STUB = Path(__file__).parent / "stub_dib" / "disk-image-create"
BUILD = "0123456789abcdef0123456789abcdef"
OTHER_BUILD = "fedcba9876543210fedcba9876543210"


class Site:
    """Directories of a builder, below one of the test's own, and its runner."""

    def __init__(self, root: Path, grace: float = 5.0) -> None:
        self.images = root / "images"
        self.logs = root / "logs"
        self.temp = root / "temp"
        self.runner = DibRunner(self.images, grace)
        self.results: queue.Queue[BuildResult] = queue.Queue()

    def order(self, build_id: str = BUILD, formats: tuple[str, ...] = ("qcow2", "raw"), **variables: str) -> BuildOrder:
        """An order for the image ``small``; ``variables`` are its ``env-vars``."""
        known = {"TMP_DIR": str(self.temp), **variables}
        image = DiskImage("small", elements=("one", "two"), dib_cmd=str(STUB), env_vars=known, build_timeout=60)
        return BuildOrder("small", build_id, formats, image, str(self.images), log_dir=str(self.logs))

    def build(self, order: BuildOrder | None = None) -> BuildResult:
        """Run a build to its end."""
        self.runner.start(order or self.order(), self.results.put)
        return self.result()

    def begin(self, mode: str, build_timeout: int = 60) -> BuildOrder:
        """Begin a build that hangs, and wait until it does."""
        order = self.order(STUB_DIB=mode)
        order = replace(order, disk_image=replace(order.disk_image, build_timeout=build_timeout))
        self.runner.start(order, self.results.put)
        eventually((self.work(order) / f"{order.stem}.hanging").exists)
        return order

    def result(self) -> BuildResult:
        """What became of the next build to end."""
        return self.results.get(timeout=60)

    def work(self, order: BuildOrder) -> Path:
        """Where the output of a build is made."""
        return self.images / WORK / order.build_id

    def names(self) -> set[str]:
        """Names of all files of images."""
        return {path.name for path in self.images.iterdir()} - {WORK}

    def log(self, order: BuildOrder) -> str:
        """The log of a build."""
        return (self.logs / f"{order.stem}.log").read_text()

    def left_behind(self) -> list[str]:
        """What is left of builds that are over."""
        files = [str(path) for place in (self.images / WORK, self.temp) if place.is_dir() for path in place.iterdir()]
        return files + [f"process {pid}" for pid in processes() if self._is_of_a_build(pid)]

    def _is_of_a_build(self, pid: int) -> bool:
        try:
            return str(self.images).encode() in Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
