"""What a kind of local machine has to be able to do; :mod:`nodepool.driver.local.adapter` does the rest.

The frame around a kind keeps the state directory, chooses addresses, makes host keys, queues the starts, and looks
whether the machine answers with the host key that it was given. A kind starts processes and ends them. Whatever it has
to know of a machine later it writes into the machine's own directory, before it starts anything: after ``kill -9`` of
this process that directory is all there is. It raises only the errors of :mod:`nodepool.driver.errors`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class NetworkAccess(Enum):
    """What a machine can reach (``network-access``). SSH from this host works in any case."""

    NONE = "none"
    """Nothing."""
    OUTSIDE = "outside"
    """What this host can reach, but not the services that listen on this host's loopback addresses."""
    HOST = "host"
    """All that, and the services on the loopback addresses of this host."""


class MachineState(Enum):
    """Whether the processes of a machine run."""

    ABSENT = "nothing of it was started yet"
    RUNNING = "it runs"
    DEAD = "it has run, and does not run any more"


@dataclass(frozen=True, slots=True)
class Image:
    """An image of which machines are made. Its files may be another user's: only :attr:`workshop` is for writing."""

    id: str
    """The external id of the upload, or the name of a cloud image."""
    content: Path
    """The file that was uploaded."""
    disk_format: str
    """``qcow2``, ``raw``, ``tar``."""
    workshop: Path
    """Directory for what a kind makes of the image, once for many machines: an unpacked tree, a saved state.

    It may not exist yet. It goes with the image, after :meth:`MachineKind.clear`, when no machine uses it any more."""
    kernel: Path | None = None
    initrd: Path | None = None
    kernel_arguments: str | None = None


@dataclass(frozen=True, slots=True)
class NodePlan:
    """A machine that is to be started."""

    id: str
    """Its external id, unique on this host: letters, digits and ``-``."""
    directory: Path
    """Its own directory, which exists and holds the frame's files: see :mod:`nodepool.driver.local.state_directory`."""
    hostname: str
    image: Image
    cores: int
    ram: int
    """MiB."""
    address: str
    """An IPv4 address of this host, on which the machine's SSH server must become reachable."""
    port: int
    """The port on that address, not in the machine: there it is 22."""
    username: str
    """Who may log in with :attr:`authorized_keys`; exists in the image."""
    host_key: str
    """Private key in OpenSSH's format (ed25519): the machine's only host key. Never in a command line or a log."""
    host_public_key: str
    """``"ssh-ed25519 BASE64"``."""
    authorized_keys: tuple[str, ...] = ()
    """Lines of ``authorized_keys``."""
    network_access: NetworkAccess = NetworkAccess.OUTSIDE


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call may take, and whether anybody still waits for it."""

    pause: Callable[[float], None]
    """Wait this many seconds; raises CloudError when nobody waits any more, or the time is over."""
    left: Callable[[], float]
    """Seconds that are left."""


@dataclass(frozen=True, slots=True)
class Remains:
    """Something of a kind that belongs to no directory of a machine: a process, a mount."""

    id: str
    """What :meth:`MachineKind.remove` needs to find it again."""


class MachineKind(ABC):
    """A kind of machines, as one provider uses it. Methods may be called from several threads at once."""

    name: str
    """As ``kind`` in nodepool.yaml names it."""
    disk_format: str
    """The format in which the builder is to upload."""
    parallel_starts: int
    """How many starts at once this host bears."""
    copies: int = 1
    """How many times the size of an upload it takes on the disk."""

    @abstractmethod
    def problems(self) -> Sequence[str]:
        """What keeps it from working on this host, each with its remedy, in a sentence; empty if nothing does.

        May take a few seconds (a probe) the first time.
        """

    @abstractmethod
    def check_content(self, content: Path, disk_format: str) -> None:
        """Raise CloudError if no machine can be made of a file that is about to be uploaded. For the builder."""

    def take_along(self, source: Path, directory: Path) -> None:  # noqa: B027
        """Copy what else belongs to an upload from beside ``source`` (the file of the builder) to ``directory``."""

    def unpack(self, image: Image, user: int, patience: Patience) -> None:  # noqa: B027
        """Make in an upload's workshop what all machines of it need, before the upload is used. For the builder.

        :param user: id of the user whose machines they will be; the builder's own, or the builder is root's
        """

    def prepare(self, plan: NodePlan, patience: Patience) -> None:  # noqa: B027
        """Make what is missing in the image's workshop for machines like this one, which may take long.

        Called before each start; several threads and processes may be at it.
        """

    @abstractmethod
    def start(self, plan: NodePlan, patience: Patience) -> None:
        """Start a machine and return when it runs; it need not answer yet. Called once for a machine."""

    @abstractmethod
    def state(self, directory: Path) -> MachineState:
        """Whether a machine runs. Quick, and right whoever started it."""

    @abstractmethod
    def destroy(self, directory: Path) -> None:
        """End all that runs or is mounted for a machine, at once; the directory stays. May be called again."""

    def console(self, directory: Path) -> str | None:  # noqa: ARG002
        """What the machine has printed, None if nothing."""
        return None

    def clear(self, workshop: Path) -> None:  # noqa: B027
        """End or unmount what stands in the way of removing an image's workshop; no machine uses it."""

    def remains(self, directories: frozenset[Path]) -> Sequence[Remains]:  # noqa: ARG002
        """What runs or is mounted for machines of this provider that have none of these directories any more."""
        return ()

    def remove(self, remains: Remains) -> None:  # noqa: B027
        """Remove one of :meth:`remains`; it may be gone."""
