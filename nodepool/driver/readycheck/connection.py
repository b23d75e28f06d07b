"""One connection to one machine: connect, verify its host key, log in, run the commands.

Everything here runs in the thread of the one check, which it blocks; only :meth:`Connection.break_off` is for others.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any, ClassVar

import paramiko
from paramiko.common import MSG_CHANNEL_REQUEST

from nodepool.driver.readycheck.keys import KeyProblem, PrivateKey, read_keys
from nodepool.driver.readycheck.output import Tail, on_one_line
from nodepool.driver.readycheck.request import CheckRequest, LoginRefused, NotReady, NotYet

SHORTEST_CONNECT = 0.1
CONNECT_LIMIT = 10.0
"""Least and most seconds for one TCP connect; a machine that drops packets may answer the next one."""
LOOK_INTERVAL = 0.25
"""Seconds without output after which it is looked whether the command has ended."""
CHILD_LIMIT = 1.0
"""Seconds after the end of a command for which the end of its output is waited for: children may hold it open."""
FREE_OUTPUT = 1 << 20
"""Bytes of output after which it is taken slowly, so that endless output costs little."""
PAUSE_PER_CHUNK = 0.05
_CHUNK = 32768


class Connection:
    """Used once: :meth:`run`, then :meth:`close`."""

    def __init__(self, request: CheckRequest) -> None:
        self._request = request
        self._place = f"{request.host} port {request.port}"
        self._lock = threading.Lock()
        self._broken_off = threading.Event()
        self._socket: socket.socket | None = None
        self._transport: paramiko.Transport | None = None
        self._channel: paramiko.Channel | None = None
        self._printed = Tail()
        self.running: str | None = None
        """The command that runs, as a sentence names it; None if none does."""

    @property
    def output(self) -> str:
        """The end of what the commands printed so far."""
        return self._printed.text

    def run(self, seconds: float) -> None:
        """Return if all commands succeed. Raises :class:`NotReady` and :class:`NotYet`.

        May take longer than ``seconds``, unless :meth:`break_off` is called.
        """
        if not self._request.host:
            # The resolver would take it for this machine.
            raise NotReady("the server has no address to connect to")
        try:
            keys = read_keys(self._request.check.key_file)
        except KeyProblem as problem:
            raise NotReady(str(problem)) from None
        transport = self._connect(seconds)
        self._verify(transport)
        self._log_in(transport, keys)
        for command in self._request.check.commands:
            self.running = f"the command '{on_one_line(command)}'"
            self._run_command(transport, command)
            self.running = None

    def break_off(self) -> None:
        """End what :meth:`run` waits for, soon: it raises. Any thread; never blocks; may be called repeatedly."""
        self._broken_off.set()
        with self._lock:
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
            if self._channel is not None:
                # paramiko would wait for ever for the answer to a request that it makes while the connection ends.
                self._channel.event.set()

    def close(self) -> None:
        """Free what is held."""
        if self._transport is not None:
            self._transport.close()
        if self._socket is not None:
            self._socket.close()

    def _connect(self, seconds: float) -> paramiko.Transport:
        limit = max(SHORTEST_CONNECT, min(seconds, CONNECT_LIMIT))
        try:
            opened = socket.create_connection((self._request.host, self._request.port), limit)
        except (OSError, ValueError) as error:  # ValueError: a name that no resolver can be asked for
            raise NotYet(f"no connection to {self._place}: {_reason(error)}") from None
        with self._lock:
            self._socket = opened
        try:
            self._go_on()
            self._transport = transport = _Transport(opened)
            transport.start_client()
        except Exception as error:  # noqa: BLE001 - paramiko passes on whatever a garbled packet makes its parsers raise
            raise NotYet(f"no SSH session with {self._place}: {self._why(error)}") from None
        return transport

    def _verify(self, transport: paramiko.Transport) -> None:
        if not self._request.host_keys:
            return
        try:
            key = transport.get_remote_server_key()
        except paramiko.SSHException as error:
            raise NotYet(f"no SSH session with {self._place}: {self._why(error)}") from None
        if f"{key.get_name()} {key.get_base64()}" not in self._request.host_keys:
            message = f"{self._place} shows another host key ({key.fingerprint}) than when it was scanned"
            raise NotReady(message)

    def _log_in(self, transport: paramiko.Transport, keys: tuple[PrivateKey, ...]) -> None:
        username = self._request.username
        who = f"{username} with {', '.join(key.file for key in keys)}"
        transport.auth_timeout = self._request.check.timeout
        for key in keys:
            try:
                further = transport.auth_publickey(username, key.key)
            except paramiko.AuthenticationException as error:
                reason = self._why(error)
                continue
            except (paramiko.SSHException, EOFError, OSError) as error:
                reason = self._why(error)
                break
            if not further:
                return
            reason = on_one_line(f"it wants {', '.join(further)} besides")
            break
        raise LoginRefused(f"{self._place} does not let in {who}: {reason}")

    def _run_command(self, transport: paramiko.Transport, command: str) -> None:
        try:
            with transport.open_session() as channel:
                self._execute(channel, command)
                self._take_output(channel)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise NotYet(f"{self.running} could not be run: {self._why(error)}") from None
        finally:
            self._channel = None
        signal = getattr(channel, "exit_signal", None)
        if signal is not None:
            raise NotReady(f"{self.running} was ended by the signal {on_one_line(signal)}")
        if channel.exit_status > 0:
            raise NotReady(f"{self.running} ended with status {channel.exit_status}")
        if channel.exit_status < 0:
            raise NotYet(f"the connection to {self._place} was lost before {self.running} ended")

    def _execute(self, channel: paramiko.Channel, command: str) -> None:
        channel.set_combine_stderr(True)
        with self._lock:
            self._channel = channel
        self._go_on()
        channel.exec_command(command)
        channel.shutdown_write()

    def _go_on(self) -> None:
        """Raise EOFError if we were broken off before there was something to break."""
        if self._broken_off.is_set():
            raise EOFError

    def _why(self, error: Exception) -> str:
        return "no answer" if self._broken_off.is_set() else _reason(error)

    def _take_output(self, channel: paramiko.Channel) -> None:
        """Take the command's output until it has ended."""
        channel.settimeout(LOOK_INTERVAL)
        ended_at: float | None = None
        while (data := _receive(channel)) != b"":
            self._printed.add(data or b"")
            if channel.status_event.is_set():
                # What it printed may come after its status.
                ended_at = ended_at or time.monotonic()
                if time.monotonic() > ended_at + CHILD_LIMIT:
                    return
            elif self._printed.total > FREE_OUTPUT:
                self._broken_off.wait(PAUSE_PER_CHUNK)
        channel.status_event.wait()


def _note_signal(channel: Any, message: paramiko.Message) -> None:
    copy = paramiko.Message(message.get_remainder())
    if copy.get_text() == "exit-signal":
        copy.get_boolean()
        channel.exit_signal = copy.get_text()
        channel.status_event.set()
    paramiko.Channel._handle_request(channel, message)  # type: ignore[attr-defined]


class _Transport(paramiko.Transport):
    """paramiko's, but it notes which signal ended a command (RFC 4254, 6.10), which paramiko drops."""

    _channel_handler_table: ClassVar[dict[int, Any]] = {
        **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]
        MSG_CHANNEL_REQUEST: _note_signal,
    }


def _receive(channel: paramiko.Channel) -> bytes | None:
    """What came; None if nothing did for a while, nothing at the end of the output."""
    try:
        return channel.recv(_CHUNK)
    except TimeoutError:
        return None


def _reason(error: Exception) -> str:
    """The error in words, safe for a log."""
    text = getattr(error, "strerror", None) or str(error)
    return on_one_line(text) or ("the machine closed the connection" if isinstance(error, EOFError) else repr(error))
