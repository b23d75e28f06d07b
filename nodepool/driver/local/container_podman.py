"""Containers made with rootless podman: some hosts let nobody else make user namespaces.

Podman's own list of containers (``podman ps``) has them, under names that begin with ``nodepool-``. The overlay is
our own, since podman would keep what a machine changes in memory; and so is the network.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from nodepool.driver.errors import CloudError, Misconfigured
from nodepool.driver.local import container_problems
from nodepool.driver.local.container_engine import CONSOLE, NOTE, Beginning, Engine
from nodepool.driver.local.container_files import archive_for
from nodepool.driver.local.container_ids import Ids, ids_of_this_process
from nodepool.driver.local.container_limits import PROCESSES
from nodepool.driver.local.container_namespaces import end_with_first_process
from nodepool.driver.local.container_process import noted, running, write_note
from nodepool.driver.local.container_run import PATH
from nodepool.driver.local.container_scripts import ON_OVERLAY
from nodepool.driver.local.container_tree import make_layers
from nodepool.driver.local.machine import Remains
from nodepool.model.record import NOTHING

PODMAN = "podman"
_NAME = "podman"
"""Note of a container's name, written before podman is told to make it."""
_OUTER = "outer.pid"
_RUNTIMES = ((), ("--runtime", "runc"), ("--runtime", "crun"))
"""Whatever podman prefers, then what it may be able to do instead: not every program works on every host."""
_TIMEOUT = 60.0
"""Seconds for a call of podman."""
_RUNTIME_DIRECTORY = "XDG_RUNTIME_DIR"
_CONTROLLERS = frozenset(("cpu", "memory", "pids"))
_MAKE = f"""set -eu
{ON_OVERLAY}
[ -z "$HAS_FILES" ] || tar -x -C root -f -
exec podman "$@" </dev/null
"""
"""Runs in podman's user namespace, in a mount namespace of its own: what it mounts ends with the container."""
_TRIAL_MOUNTS = ("/bin", "/lib", "/lib64", "/usr")
_INSIDE = f"""set -eu
mkdir -p /run/sshd /run/lock
exec env -i PATH={PATH} LANG=C.UTF-8 /usr/sbin/sshd -D -e -h /etc/ssh/ssh_host_ed25519_key
"""
"""Becomes the machine's SSH server."""


class Podman(Engine):
    """See the module's description. Not for root."""

    name = "podman"

    def __init__(self, nodes: Path) -> None:
        super().__init__(nodes)
        self.limits = False
        self._works = False
        self._runtime: Sequence[str] = ()

    def problems(self) -> list[str]:
        """What podman says."""
        found = container_problems.missing()
        try:
            ids = ids_of_this_process()
            if not found:
                self._try(ids)
                host = json.loads(_podman(["info", "--format", "json"]))["host"]
                self.limits = set(host.get("cgroupControllers") or ()) >= _CONTROLLERS
                self._works = True
        except (CloudError, Misconfigured, ValueError, KeyError) as error:
            found.append(str(error))
        return found

    def start(self, beginning: Beginning) -> int:
        """Have podman make the container; returns its first process."""
        place = beginning.place
        (place / _NAME).write_text(beginning.name, encoding="utf-8")
        make_layers(place, beginning.ids)
        archive = archive_for(beginning.plan, beginning.tree)
        try:
            self._make(self._options(beginning), place, beginning.tree, (archive, beginning.lifeline))
        finally:
            os.close(archive)
        outer = running(int((place / _OUTER).read_text(encoding="ascii")))
        write_note(outer.pid, place / NOTE)
        first = outer.children()
        if not first:
            said = (place / CONSOLE).read_text(encoding="utf-8", errors="replace").strip()
            raise CloudError(f"the container {beginning.plan.id} did not start: {said}")
        return first[0].pid

    def end(self, place: Path) -> None:
        """Kill it, and have podman forget it."""
        try:
            name = (place / _NAME).read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        machine = noted(place / NOTE)
        if machine is not None:
            end_with_first_process(machine)
        _forget(name)

    def remains(self, known: Collection[str]) -> Sequence[Remains]:
        """Containers that podman knows, and nobody else; none before podman is known to work."""
        if not self._works:
            return ()
        names = _podman(["ps", "--all", "--filter", f"name={self.prefix}", "--format", "{{.Names}}"]).split()
        return [Remains(name) for name in names if name.startswith(self.prefix) and name not in known]

    def remove(self, remains: Remains) -> bool:
        """Have podman end and forget it."""
        ours = remains.id.startswith(self.prefix)
        if ours:
            _forget(remains.id)
        return ours

    # Inside

    def _options(self, beginning: Beginning) -> list[str]:
        plan, place = beginning.plan, beginning.place.absolute()
        options = {
            "name": beginning.name,
            "label": f"nodepool={plan.id}",
            "hostname": plan.hostname,
            "stop-timeout": "0",
            "log-driver": "k8s-file",
            "log-opt": f"path={place / CONSOLE}",
            "conmon-pidfile": str(place / _OUTER),
        }
        if self.limits:
            ram = f"{plan.ram}m"
            options |= {"cpus": str(plan.cores), "memory": ram, "memory-swap": ram, "pids-limit": str(PROCESSES)}
        return ["--detach", *(f"--{name}={text}" for name, text in options.items())]

    def _make(self, options: Sequence[str], place: Path, tree: Path, machine: tuple[int, int] | None = None) -> None:
        """Run a container on an overlay.

        :param machine: the archive of its own files and its lifeline; None for a trial
        """
        program = ["/bin/true"] if machine is None else ["/bin/sh", "-c", _INSIDE]
        root = str(place.absolute() / "root")
        run = [*self._runtime, "run", "--network=none", *options, "--rootfs", root, *program]
        words = [PODMAN, "unshare", "unshare", "--mount", "sh", "-c", _MAKE, "sh", *run]
        archive, *lifeline = machine or (None,)
        variables = {"TREE": str(tree.absolute()), "HAS_FILES": "" if machine is None else "yes"}
        _call(words, place, variables, archive, lifeline)

    def _try(self, ids: Ids) -> None:
        """Run a program of this host in a container, with one runtime after the other. Raises CloudError."""
        first: CloudError | None = None
        mounts = [f"--volume={path}:{path}:ro" for path in _TRIAL_MOUNTS if os.path.exists(path)]
        for runtime in _RUNTIMES:
            self._runtime = runtime
            with container_problems.trial_place(self.nodes, ids) as place:
                make_layers(place, ids)
                (place / "tree").mkdir()
                try:
                    self._make(["--rm", *mounts], place, place / "tree")
                except CloudError as error:
                    first = first or error
                else:
                    return
        assert first is not None, "at least one runtime was tried"
        raise first


def is_installed() -> bool:
    """Whether there is a podman."""
    return shutil.which(PODMAN, path=PATH) is not None


def _forget(name: str) -> None:
    _podman(["rm", "--force", "--ignore", name])


def _podman(words: Sequence[str]) -> str:
    return _call([PODMAN, *words])


def _call(
    words: Sequence[str],
    place: Path = Path("/"),
    variables: Mapping[str, str] = NOTHING,
    stdin: int | None = None,
    descriptors: Sequence[int] = (),
) -> str:
    """What a call of podman prints. Raises CloudError with what it complains of."""
    try:
        # What podman leaves running must not keep a pipe of ours open.
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
            result = subprocess.run(
                words,
                cwd=place,
                env={**_environment(), **variables},
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=said,
                stderr=complained,
                pass_fds=descriptors,
                start_new_session=True,
                timeout=_TIMEOUT,
                check=False,
            )
            for file in (said, complained):
                file.seek(0)
            if result.returncode:
                text = complained.read().decode("utf-8", "replace").strip()
                raise CloudError(f"podman: {text.rpartition(chr(10))[2] or f'exit status {result.returncode}'}")
            return said.read().decode("utf-8", "replace")
    except OSError as error:
        raise CloudError(f"cannot run podman: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise CloudError(f"podman has not answered for {_TIMEOUT:g} s") from error


def _environment() -> Mapping[str, str]:
    """What podman needs to find its own; it passes nothing on."""
    kept = (
        "HOME",
        "USER",
        _RUNTIME_DIRECTORY,
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "DBUS_SESSION_BUS_ADDRESS",
        "TMPDIR",
    )
    found = {"PATH": PATH, **{name: os.environ[name] for name in kept if name in os.environ}}
    if _RUNTIME_DIRECTORY not in found and not os.path.exists(f"/run/user/{os.geteuid()}"):
        found[_RUNTIME_DIRECTORY] = _runtime_directory()
    return found


def _runtime_directory() -> str:
    """A directory for a user who has not logged in, as a service's has not. Raises OSError."""
    directory = Path(tempfile.gettempdir(), f"podman-run-{os.geteuid()}")
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.is_symlink() or directory.stat().st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, f"{directory} is somebody else's", str(directory))
    return str(directory)
