"""The static node of the quickstart: a real sshd on a loopback address, with keys made for it alone."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import time
from pathlib import Path

from tools.quickstart.background import POLL_SECONDS, Background, QuickstartError

ADDRESS = "127.0.0.1"
SSHD = "/usr/sbin/sshd"
KEY_TYPES = ("ed25519", "ecdsa")
START_SECONDS = 20.0
STOP_SECONDS = 5.0


class NodeServer:
    """An sshd into which the user who started it may log in, with the key of the quickstart only."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.username = pwd.getpwuid(os.geteuid()).pw_name
        self.identity = directory / "login_key"
        """The private key that may log in."""
        self.process = Background("sshd", directory)

    def start(self, port: int) -> None:
        """Start it on ``port`` unless it runs, and wait for its banner. Raises :class:`QuickstartError`."""
        if not self.process.pid():
            self.directory.mkdir(exist_ok=True)
            self._write_files(port)
            self.process.start([SSHD, "-D", "-e", "-f", self.directory / "sshd_config"])
        deadline = time.monotonic() + START_SECONDS
        while not _greets(port):
            self.process.check()
            if time.monotonic() > deadline:
                raise QuickstartError(f"sshd does not answer on port {port}. {self.process.log_end()}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> bool:
        """End it; False if it did not run."""
        return self.process.stop(signal.SIGTERM, STOP_SECONDS)

    def host_key(self) -> str:
        """The public host key for ``nodepool.yaml``: type and base64."""
        return " ".join(self._host_key(KEY_TYPES[0]).with_suffix(".pub").read_text(encoding="ascii").split()[:2])

    def _host_key(self, kind: str) -> Path:
        return self.directory / f"host_key_{kind}"

    def _write_files(self, port: int) -> None:
        for kind in KEY_TYPES:
            make_key(self._host_key(kind), kind)
        make_key(self.identity, "ed25519")
        authorized = self.directory / "authorized_keys"
        authorized.write_bytes(self.identity.with_suffix(".pub").read_bytes())
        if os.geteuid() == 0:
            # Run by root, sshd puts the part of itself that talks to strangers in there.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        lines = [
            f"ListenAddress {ADDRESS}:{port}",
            *(f'HostKey "{self._host_key(kind)}"' for kind in KEY_TYPES),
            f'AuthorizedKeysFile "{authorized}"',
            f"AllowUsers {self.username}",
            "PermitRootLogin prohibit-password",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            # Without PAM sshd refuses accounts whose password is locked.
            f"UsePAM {'yes' if _password_is_locked(self.username) else 'no'}",
            # The directory may stand below a world-writable one such as /tmp; it is closed to others itself.
            "StrictModes no",
            "UseDNS no",
            "PidFile none",
        ]
        (self.directory / "sshd_config").write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_key(path: Path, kind: str) -> None:
    """Make a key pair at ``path`` and ``path``.pub, unless there is one."""
    if not path.with_suffix(".pub").exists():
        path.unlink(missing_ok=True)
        command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "nodepool quickstart", "-f", str(path)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def _password_is_locked(username: str) -> bool:
    try:
        accounts = Path("/etc/shadow").read_text(encoding="utf-8").splitlines()
    except PermissionError:
        return False
    return any(line.startswith(f"{username}:!") for line in accounts)


def _greets(port: int) -> bool:
    try:
        with socket.create_connection((ADDRESS, port), 1.0) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
