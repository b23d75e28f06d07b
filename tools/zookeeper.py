"""A real ZooKeeper server as a child process or in the background: for tests, benchmarks and the quickstart.

As a program: ``python tools/zookeeper.py start|stop|status --dir DIRECTORY [--port PORT]``. The server runs from the
jars of Debian's ``libzookeeper-java``, listens on 127.0.0.1 only and keeps all it has in its directory. It needs
neither root nor an init system. Not for production: one server, small heap.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

INSTALL = "apt-get install --no-install-recommends libzookeeper-java openjdk-17-jre-headless"
DEFAULT_PORT = 2181
_MAIN_CLASS = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
_JARS = (
    "zookeeper",
    "zookeeper-jute",
    "slf4j-api",
    "slf4j-simple",
    "metrics-core",
    "snappy-java",
    "netty-common",
    "netty-buffer",
    "netty-transport",
    "netty-handler",
    "netty-codec",
    "netty-resolver",
)
_START_LIMIT = 60.0
_STOP_LIMIT = 10.0
_PORT_ATTEMPTS = 5
_SET_PARENT_DEATH_SIGNAL = 1
_LIBC = ctypes.CDLL(None)


class ZooKeeperMissing(RuntimeError):
    """No ZooKeeper server is installed; the message says what to do."""


class ZooKeeperFailed(RuntimeError):
    """The server did not come up; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class ServerTLS:
    """PEM files for a port that demands client certificates; ``store`` has the server's key and certificate."""

    store: Path
    authority: Path


@dataclass(frozen=True, slots=True)
class Member:
    """One server of an ensemble: its number and the ports for the other servers."""

    number: int
    quorum_port: int
    election_port: int


def find_jars() -> Path:
    """The directory of the server's jars: ``$ZOOKEEPER_JARS`` or Debian's. Raises :class:`ZooKeeperMissing`."""
    directory = Path(os.environ.get("ZOOKEEPER_JARS", "/usr/share/java"))
    missing = [name for name in _JARS if _jar(directory, name) is None]
    if missing or _java() is None:
        what = f"no {missing[0]}.jar in {directory}" if missing else "no java program"
        raise ZooKeeperMissing(f"ZooKeeper is not installed ({what}). Install it with: {INSTALL}")
    return directory


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def ask(port: int, word: bytes, seconds: float = 0.3) -> str:
    """The answer to one of ZooKeeper's four letter words; empty if there is none within ``seconds``."""
    answer = b""
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), seconds) as connection,
    ):
        connection.sendall(word)
        while part := connection.recv(65536):
            answer += part
    return answer.decode("utf-8", "replace")


class LocalZooKeeper:
    """One server in one directory. Times are seconds.

    ``port`` 0 takes a free one at each first start. ``durable`` writes are on disk when they are answered, which a test
    does not need. ``tick`` is ZooKeeper's unit of session time: a session ends up to one tick late.
    """

    def __init__(
        self,
        directory: Path,
        port: int = 0,
        *,
        durable: bool = False,
        tick: float = 0.5,
        tls: ServerTLS | None = None,
        member: Member | None = None,
        ensemble: Sequence[Member] = (),
    ) -> None:
        self.directory = directory.absolute()
        self.port = port
        self.tls_port = 0
        self._durable = durable
        self._tick = tick
        self._tls = tls
        self._member = member
        self._ensemble = ensemble
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def hosts(self) -> str:
        """Connect string of the plain port."""
        return f"127.0.0.1:{self.port}"

    @property
    def tls_hosts(self) -> str:
        """Connect string of the TLS port."""
        return f"127.0.0.1:{self.tls_port}"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.directory / "zookeeper.log"

    @property
    def pid(self) -> int:
        """Process id; 0 if it was not started."""
        return self._process.pid if self._process else 0

    def start(self, *, wait: bool = True, detached: bool = False) -> None:
        """Start the server. Attached, it dies with the thread that calls this.

        Raises :class:`ZooKeeperMissing` or :class:`ZooKeeperFailed`.
        """
        chosen = self.port == 0
        for attempt in range(_PORT_ATTEMPTS):
            if chosen:
                self.port = free_port()
            if self._tls and not self.tls_port:
                self.tls_port = free_port()
            self._launch(detached)
            try:
                if wait:
                    self.wait_serving()
            except ZooKeeperFailed as error:
                if not chosen or "already in use" not in str(error) or attempt == _PORT_ATTEMPTS - 1:
                    raise
                self.tls_port = 0
            else:
                return

    def wait_serving(self) -> None:
        """Wait until clients are served. Raises :class:`ZooKeeperFailed`."""
        deadline = time.monotonic() + _START_LIMIT
        while not self.mode():
            if self._process is not None and self._process.poll() is not None:
                raise ZooKeeperFailed(f"ZooKeeper ended with exit code {self._process.returncode}: {self._log_end()}")
            if time.monotonic() > deadline:
                raise ZooKeeperFailed(f"ZooKeeper does not serve after {_START_LIMIT:.0f} s: {self._log_end()}")
            time.sleep(0.02)

    def mode(self) -> str:
        """``standalone``, ``leader`` or ``follower``; empty while it does not serve."""
        found = re.search(r"^Mode: (\w+)$", ask(self.port, b"srvr"), re.MULTILINE)
        return found[1] if found else ""

    def stop(self) -> None:
        """End the server as an operator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Stop the process without ending it: it accepts connections and answers nothing."""
        self._send(signal.SIGSTOP)
        if self._process is not None and self._process.poll() is None:
            # Its threads go on for a moment.
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a paused process go on."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        try:
            process.wait(_STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _launch(self, detached: bool) -> None:
        command = [*_java_command(find_jars(), durable=self._durable), str(self._write_configuration())]
        die_with_parent = None if detached else _die_with_parent(os.getpid())
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def _write_configuration(self) -> Path:
        data = self.directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        lines = {
            "tickTime": f"{self._tick * 1000:.0f}",
            "initLimit": "20",
            "syncLimit": "10",
            "dataDir": str(data),
            "clientPort": str(self.port),
            "clientPortAddress": "127.0.0.1",
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "*",
            "maxClientCnxns": "0",
            "minSessionTimeout": f"{self._tick * 2000:.0f}",
            "maxSessionTimeout": "120000",
            "preAllocSize": "64",
            "forceSync": "yes" if self._durable else "no",
        }
        if self._tls:
            lines |= _tls_lines(self._tls, self.tls_port)
        for member in self._ensemble:
            lines[f"server.{member.number}"] = f"127.0.0.1:{member.quorum_port}:{member.election_port}"
        if self._member:
            (data / "myid").write_text(str(self._member.number), encoding="ascii")
        path = configuration_path(self.directory)
        path.write_text("".join(f"{key}={value}\n" for key, value in lines.items()), encoding="utf-8")
        return path

    def _log_end(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        causes = [line for line in lines if "already in use" in line or "ERROR" in line]
        return " | ".join((causes or lines)[-4:]) + f" (all of it: {self.log})"


def configuration_path(directory: Path) -> Path:
    """The configuration file of the server in ``directory``."""
    return directory.absolute() / "zoo.cfg"


def configured_port(directory: Path) -> int:
    """The client port that the server in ``directory`` was started with."""
    found = re.search(r"^clientPort=(\d+)$", configuration_path(directory).read_text(encoding="utf-8"), re.MULTILINE)
    return int(found[1]) if found else 0


def running_pid(directory: Path) -> int:
    """Process id of the server started in the background in ``directory``; 0 if it does not run."""
    try:
        pid = int(_pid_file(directory).read_text(encoding="ascii"))
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return 0
    return pid if str(configuration_path(directory)).encode() in command.split(b"\0") else 0


def start_in_background(directory: Path, port: int) -> int:
    """Start a durable server that outlives this program, unless it runs already; returns its process id.

    Raises :class:`ZooKeeperMissing` or :class:`ZooKeeperFailed`.
    """
    if pid := running_pid(directory):
        return pid
    server = LocalZooKeeper(directory, port, durable=True, tick=2.0)
    if server.mode():
        raise ZooKeeperFailed(f"another ZooKeeper serves on 127.0.0.1:{port}: stop it, or choose another port")
    directory.mkdir(parents=True, exist_ok=True)
    server.start(wait=False, detached=True)
    _pid_file(directory).write_text(f"{server.pid}\n", encoding="ascii")
    try:
        server.wait_serving()
    except ZooKeeperFailed:
        server.kill()
        _pid_file(directory).unlink()
        raise
    return server.pid


def stop_in_background(directory: Path) -> bool:
    """End the server of ``directory``; False if it did not run."""
    pid = running_pid(directory)
    if pid:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_LIMIT
        while running_pid(directory):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
    _pid_file(directory).unlink(missing_ok=True)
    return bool(pid)


def _pid_file(directory: Path) -> Path:
    return directory / "zookeeper.pid"


def _java() -> str | None:
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")


def _jar(directory: Path, name: str) -> Path | None:
    plain = directory / f"{name}.jar"
    return plain if plain.exists() else next(iter(sorted(directory.glob(f"{name}-[0-9]*.jar"))), None)


def _java_command(directory: Path, *, durable: bool) -> list[str]:
    jars = ":".join(str(_jar(directory, name)) for name in _JARS)
    options = "-Xms32m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Djava.awt.headless=true"
    heap = "-Xmx256m" if durable else "-Xmx128m"
    return [_java() or "java", *options.split(), heap, "-cp", jars, _MAIN_CLASS]


def _tls_lines(tls: ServerTLS, port: int) -> dict[str, str]:
    return {
        "secureClientPort": str(port),
        "secureClientPortAddress": "127.0.0.1",
        "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",
        "authProvider.x509": "org.apache.zookeeper.server.auth.X509AuthenticationProvider",
        "ssl.clientAuth": "need",
        "ssl.keyStore.location": str(tls.store),
        "ssl.trustStore.location": str(tls.authority),
    }


def _die_with_parent(parent: int) -> Callable[[], None]:
    def prepare() -> None:
        _LIBC.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def main(arguments: Sequence[str] | None = None) -> int:
    """The program. Exit code 0: done, or for ``status`` running; 1: failed, or for ``status`` not running."""
    parser = argparse.ArgumentParser(description="Run a small ZooKeeper on 127.0.0.1 in the background.")
    parser.add_argument("action", choices=("start", "stop", "status"))
    parser.add_argument("--dir", type=Path, required=True, help="where the server keeps its data, log and pid file")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"TCP port (default: {DEFAULT_PORT})")
    options = parser.parse_args(arguments)
    if options.action == "start":
        try:
            pid = start_in_background(options.dir, options.port)
        except (ZooKeeperMissing, ZooKeeperFailed) as error:
            print(error, file=sys.stderr)
            return 1
        print(f"ZooKeeper serves on 127.0.0.1:{configured_port(options.dir)} (process {pid}, data in {options.dir})")
        return 0
    if options.action == "stop":
        print("ZooKeeper ended" if stop_in_background(options.dir) else "ZooKeeper did not run")
        return 0
    pid = running_pid(options.dir)
    where = f"on 127.0.0.1:{configured_port(options.dir)} (process {pid})" if pid else ""
    print(f"ZooKeeper runs {where}" if pid else "ZooKeeper does not run")
    return 0 if pid else 1


if __name__ == "__main__":
    sys.exit(main())
