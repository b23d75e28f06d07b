"""A real ``nodepool-builder`` as a child process, with a configuration and an images directory of its own.

Its images are made by the stub of the build tool (``tests/stub_dib``).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.daemon_process import DaemonProcess
from tests.launcher_process import fake_provider
from tests.zookeeper import Place, eventually

PROGRAM = (sys.executable, "-m", "nodepool.cmd.builder")
STUB = Path(__file__).resolve().parent / "stub_dib/disk-image-create"
IMAGE = "jammy"
RUNS = "starts as process"
"""What it logs then."""
START_SECONDS = 60.0


class BuilderProcess(DaemonProcess):
    """One builder, not started. A context manager: starts on entry and is killed on exit.

    ``directory`` gets everything that it writes. The builder's tree is ``place``; it connects to ``hosts`` if they are
    given. ``providers`` are whole entries. ``program`` is the beginning of the command line; ``environment`` is added
    to ours; ``settings`` are further keys of the top level of the configuration, with ``_`` for ``-``. Builds wait
    while the file ``hold`` exists.
    """

    def __init__(
        self,
        directory: Path,
        place: Place,
        *,
        providers: Sequence[Mapping[str, Any]],
        images: Sequence[str] = (IMAGE,),
        hosts: str = "",
        program: Sequence[str] = PROGRAM,
        environment: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(directory / "builder.log", environment)
        self.directory = directory
        self.images = directory / "images"
        self.work = directory / "work"
        self.hold = directory / "hold"
        self.program = program
        self.configuration_file = directory / "nodepool.yaml"
        host, port = (hosts or place.hosts).rsplit(":", 1)
        variables = {"STUB_DIB_HOLD": str(self.hold), "TMP_DIR": str(self.work)}
        self.document = {
            "zookeeper-servers": [{"host": host, "port": int(port), "chroot": place.chroot}],
            "images-dir": str(self.images),
            "images-min-free-space": 0,
            "build-log-dir": str(directory / "logs"),
            "labels": [{"name": image} for image in images],
            "diskimages": [{"name": image, "dib-cmd": str(STUB), "env-vars": variables} for image in images],
            "providers": list(providers),
            **{name.replace("_", "-"): value for name, value in settings.items()},
        }
        self.configure()

    def configure(self, **settings: Any) -> None:
        """Write the configuration with other keys at its top; a builder that runs takes it over by itself."""
        self.document |= {name.replace("_", "-"): value for name, value in settings.items()}
        written = self.configuration_file.with_suffix(".new")
        written.write_text(yaml.safe_dump(self.document), encoding="utf-8")
        written.replace(self.configuration_file)

    def __enter__(self) -> BuilderProcess:
        self.start()
        return self

    def start(self) -> None:
        """Run it; returns when it runs and heeds signals, or has ended."""
        starts = self.log.count(RUNS)
        process = self._run([*self.program, "-f", "-c", str(self.configuration_file)])
        eventually(lambda: self.log.count(RUNS) > starts or process.poll() is not None, START_SECONDS)

    @property
    def files(self) -> list[str]:
        """All that is in its images directory, work under way included."""
        names = [path.name for path in self.images.glob("*")] + [path.name for path in self.images.glob(".building/*")]
        return sorted(name for name in names if name not in ("builder_id.txt", ".building"))


def image_provider(
    name: str, cloud: Path, images: Sequence[str] = (IMAGE,), *, fake: Mapping[str, Any] | None = None, **provider: Any
) -> dict[str, Any]:
    """A provider of the fake driver that keeps its images in ``cloud``, with a label for each image.

    ``fake`` says how the cloud behaves; ``provider`` are further keys, with ``_`` for ``-``.
    """
    entry = fake_provider(name, (), fake={"images-dir": str(cloud), **(fake or {})})
    labels = [{"name": image, "diskimage": image, "min-ram": 1} for image in images]
    return {
        **entry,
        "diskimages": [{"name": image} for image in images],
        "pools": [{"name": "main", "labels": labels}],
        **{key.replace("_", "-"): value for key, value in provider.items()},
    }


def images_in(cloud: Path, provider: str) -> list[str]:
    """External ids of the images in the fake cloud, whole or not."""
    return sorted(path.name for path in (cloud / provider).glob("*") if path.is_dir())
