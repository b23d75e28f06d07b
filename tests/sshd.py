"""A real OpenSSH server on a loopback address, as a child process of the test runner.

It dies with the thread that started it, however that ends (PR_SET_PDEATHSIG), so start it from the main thread.
All its files are in a temporary directory of its own, which is removed when it is stopped.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

SSHD = "/usr/sbin/sshd"
READY_SECONDS = 20.0
PRIVILEGE_SEPARATION_DIRECTORY = Path("/run/sshd")

_KEYGEN_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "ed25519": ("-t", "ed25519"),
    "ecdsa": ("-t", "ecdsa", "-b", "256"),
    "ecdsa384": ("-t", "ecdsa", "-b", "384"),
    "ecdsa521": ("-t", "ecdsa", "-b", "521"),
    "rsa": ("-t", "rsa", "-b", "2048"),
    "dsa": ("-t", "dsa"),
}


def generate_key(path: Path, key_type: str = "ed25519") -> str:
    """Make a key pair without passphrase at ``path`` and ``path``.pub; return the public one as ``"<type> <base64>"``.

    ``key_type`` is one of ed25519, ecdsa, ecdsa384, ecdsa521, rsa, dsa.
    """
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-C", "", "-f", path, *_KEYGEN_OPTIONS[key_type]], check=True)
    return " ".join(Path(f"{path}.pub").read_text().split()[:2])


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on at ``address`` right now."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((address, 0))
        return int(listener.getsockname()[1])


class Sshd:
    """An sshd with its own host keys. A context manager: starts on entry, stops on exit.

    ``key_types`` as for `generate_key`. ``authorized_key`` (a public key line) may log in as any user that sshd can
    switch to: any user when run as root, else only the server's own. ``user`` runs the server as that user instead of
    the current one (needs root). ``options`` are further lines of sshd_config, taken before the defaults given here.
    ``port`` is a free one by default; it and the host keys stay the same over restarts.
    """

    def __init__(
        self,
        address: str = "127.0.0.1",
        port: int | None = None,
        *,
        key_types: Iterable[str] = ("ed25519", "ecdsa", "rsa"),
        authorized_key: str = "",
        user: str | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        if not os.access(SSHD, os.X_OK):
            raise RuntimeError("sshd is missing; install it with: apt-get install openssh-server")
        self.address = address
        self.port = port if port is not None else free_port(address)
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self.directory = Path(tempfile.mkdtemp(prefix="test-sshd-"))
        self.directory.chmod(0o755)
        paths = [self.directory / f"host_key_{key_type}" for key_type in key_types]
        keys = [generate_key(path, path.name.removeprefix("host_key_")) for path in paths]
        self.host_keys: frozenset[str] = frozenset(keys)
        """The public host keys, as ``"<type> <base64>"``."""
        (self.directory / "authorized_keys").write_text(f"{authorized_key}\n")
        (self.directory / "sshd_config").write_text(self._configuration(paths, options or {}))
        if user is not None:
            for path in (self.directory, *self.directory.iterdir()):
                shutil.chown(path, user)

    def _configuration(self, host_key_paths: list[Path], options: Mapping[str, str]) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        lines = [f"{name} {value}" for name, value in options.items()]
        lines += [f"HostKey {path}" for path in host_key_paths]
        lines += [
            f"ListenAddress {address}:{self.port}",
            f"AuthorizedKeysFile {self.directory / 'authorized_keys'}",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            "StrictModes no",
            "UsePAM no",
            "UseDNS no",
            "PidFile none",
        ]
        return "\n".join(lines) + "\n"

    def __enter__(self) -> "Sshd":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    @property
    def pid(self) -> int:
        """Process id of the listening server."""
        assert self._process is not None, "sshd is not started"
        return self._process.pid

    @property
    def log(self) -> str:
        """What the server has logged so far."""
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self, *, wait: bool = True) -> None:
        """Start the server; with ``wait``, return once its banner was seen."""
        assert self._process is None, "sshd is started already"
        if self._user is None and os.geteuid() == 0:
            PRIVILEGE_SEPARATION_DIRECTORY.mkdir(mode=0o755, exist_ok=True)
        command = ["setpriv", "--pdeathsig", "KILL"]
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            command += [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        command += [SSHD, "-D", "-e", "-f", str(self.directory / "sshd_config")]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, start_new_session=True)
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait for the server's banner; raises RuntimeError with its log when it ends or time runs out."""
        deadline = time.monotonic() + seconds
        while not self.answers(timeout=1.0):
            assert self._process is not None, "sshd is not started"
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"sshd at {self.address} port {self.port} is not ready. Its log:\n{self.log}")
            time.sleep(0.02)

    def answers(self, timeout: float = 1.0) -> bool:
        """Whether a banner comes within ``timeout`` seconds."""
        try:
            with socket.create_connection((self.address, self.port), timeout=timeout) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def suspend(self) -> None:
        """SIGSTOP: the kernel still accepts connections, nothing answers on them."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after `suspend`."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL the server and all its sessions; its files stay for another `start`."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def restart(self) -> None:
        """`kill` and `start` on the same port with the same host keys."""
        self.kill()
        self.start()

    def remove(self) -> None:
        """End the server and remove its directory."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def login(
        self, identity: Path, command: str, *, host_keys: Iterable[str], user: str = "root", timeout: float = 20.0
    ) -> subprocess.CompletedProcess[str]:
        """Run ``command`` over ssh with the private key ``identity``, trusting only these host keys."""
        known_hosts = self.directory / "known_hosts"
        known_hosts.write_text("".join(f"[{self.address}]:{self.port} {key}\n" for key in host_keys))
        options = {
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
        }
        arguments = [f"-o{name}={value}" for name, value in options.items()]
        target = ["-p", str(self.port), "-l", user, self.address, command]
        return subprocess.run(
            ["ssh", "-F", "none", "-i", str(identity), *arguments, *target],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
