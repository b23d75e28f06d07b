"""A whole installation that a test may hurt: its own tree in ZooKeeper, a cloud that outlives launchers, launchers.

What happened is judged from ZooKeeper's own journal (see :mod:`tests.audit`), so that nothing escapes a test.
"""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.audit import Audit
from tests.journal import Journal, Transaction
from tests.launcher_process import LauncherProcess
from tests.shared_cloud import SharedCloud, installed
from tests.zookeeper import PATIENCE, kill_session, new_place
from tools.zookeeper import LocalZooKeeper

SESSION = 3.0
"""Session timeout of the launchers in seconds: short, and longer than a busy machine lets a process wait."""
_PAUSE = 0.02
_SESSION_LINE = re.compile(r"Connected to ZooKeeper at \S+ session (0x[0-9a-f]+)")


class Installation:
    """One tree, and the directory for all else. ``server`` is the one whose journal is read.

    ``hosts`` is the connect string of its ensemble; by default it has none.
    """

    def __init__(self, server: LocalZooKeeper, directory: Path, hosts: str = "") -> None:
        self.server = server
        self.place = new_place(hosts or server.hosts)
        self.directory = directory
        self.cloud = SharedCloud(directory / "cloud")
        self.cloud.directory.mkdir(parents=True)
        self.journal: list[Transaction] = []
        """All transactions that were looked at, of the whole server."""
        self._journal = Journal(server.directory)
        # What others have left in it is none of our business, and would take its time when there is none.
        self._journal.news()
        self._audit = Audit(self.place.chroot)

    def launcher(
        self,
        name: str = "a",
        *,
        providers: Sequence[Mapping[str, Any]] = (),
        labels: Sequence[str | Mapping[str, Any]] = ("small",),
        hosts: str | None = None,
        **settings: Any,
    ) -> LauncherProcess:
        """A launcher that is not started yet; without ``providers`` it has the shared cloud and all labels."""
        names = [label if isinstance(label, str) else str(label["name"]) for label in labels]
        return LauncherProcess(
            self.directory / name,
            self.place,
            providers=providers or [self.provider(labels=names)],
            labels=labels,
            hosts=hosts,
            debug=True,
            environment=installed(self.directory / "driver"),
            **{"zookeeper_timeout": SESSION, **settings},
        )

    def provider(
        self,
        name: str = "cloud",
        *,
        labels: Sequence[str] = ("small",),
        fake: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        **pool: Any,
    ) -> dict[str, Any]:
        """A provider on the shared cloud with one pool ``main``; ``fake`` says how the cloud behaves."""
        entries = [{"name": label, "cloud-image": "image", "min-ram": 1} for label in labels]
        return {
            "name": name,
            "driver": "shared-cloud",
            "directory": str(self.cloud.directory),
            "cloud-images": [{"name": "image", "username": "debian"}],
            "fake": {"poll-interval": 0.05, "instances": 1000, "cores": 4000, "ram": 9_000_000, **(fake or {})},
            "pools": [{"name": "main", "labels": entries, **pool}],
            **(settings or {}),
        }

    @property
    def audit(self) -> Audit:
        """All that happened so far; fails if a launcher broke a rule."""
        news = self._journal.news()
        self.journal.extend(news)
        self._audit.play(news)
        assert not self._audit.complaints, "\n".join(self._audit.complaints)
        return self._audit

    @property
    def zxid(self) -> int:
        """Number of the last transaction so far."""
        self.audit  # noqa: B018 - reads on
        return self.journal[-1].zxid

    def wait(self, condition: Callable[[Audit], object], seconds: float = PATIENCE) -> Audit:
        """Wait until something is so; returns the audit. Fails as :attr:`audit` does."""
        deadline = time.monotonic() + seconds
        while not condition(self.audit):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s: {condition}; there are {dict(self._audit.states())}")
            time.sleep(_PAUSE)
        return self._audit

    def stays(self, condition: Callable[[Audit], object], seconds: float) -> None:
        """Watch for ``seconds`` that something stays so."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert condition(self.audit), f"not any more: {condition}"
            time.sleep(_PAUSE)

    def wait_clean(self, nodes: Sequence[str] = ()) -> Audit:
        """Wait until nothing but these nodes is left: no record, no lock, no server. Returns the audit.

        Somebody may hold the locks of these nodes.
        """
        expected = [f"/nodepool/nodes/{node}{rest}" for node in sorted(nodes) for rest in ("", "/lock")]
        deadline = time.monotonic() + PATIENCE
        while self._left(expected) != expected or self.cloud.nodes() != sorted(nodes):
            if time.monotonic() > deadline:
                raise AssertionError(f"left over: servers {self.cloud.nodes()}, znodes {self.audit.left()}")
            time.sleep(_PAUSE)
        return self._audit

    def writes(self, session: int, after: int = 0) -> list[Transaction]:
        """What a session changed after the transaction with this number, other than its own end."""
        last = self.zxid
        return [one for one in self.journal if after < one.zxid <= last and one.session == session and one.changes]

    def wait_end(self, session: int) -> int:
        """Wait until a session is over; returns the number of the transaction that ended it."""
        self.wait(lambda audit: session in audit.ended)
        return self._audit.ended[session]

    def expire(self, launcher: LauncherProcess) -> None:
        """End the session of a launcher as if it had expired."""
        session = session_of(launcher)
        kill_session("127.0.0.1", self.server.port, session, session_password(session))

    def _left(self, locks: Sequence[str]) -> list[str]:
        return [path for path in self.audit.left() if path.rpartition("/")[0] not in locks or path in locks]


def session_of(launcher: LauncherProcess) -> int:
    """The last session that a launcher had."""
    return int(sessions_of(launcher)[-1])


def sessions_of(launcher: LauncherProcess) -> list[int]:
    """All sessions that a launcher has had, over all starts."""
    return [int(number, 16) for number in _SESSION_LINE.findall(launcher.log.replace(",", ""))]


def session_password(session: int) -> bytes:
    """What lets anybody take a session over: ZooKeeper derives it from the id (``ZooKeeperServer.generatePasswd``)."""
    numbers = _java_random(session ^ 0xB3415C00)
    return b"".join(struct.pack("<i", next(numbers)) for _ in range(4))


def _java_random(seed: int) -> Iterator[int]:
    """The numbers of ``java.util.Random.nextInt``."""
    mask = (1 << 48) - 1
    state = (seed ^ 0x5DEECE66D) & mask
    while True:
        state = (state * 0x5DEECE66D + 0xB) & mask
        number = state >> 16
        yield number - (1 << 32) if number >= 1 << 31 else number
