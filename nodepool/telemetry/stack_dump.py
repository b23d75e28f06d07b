"""What every thread is doing, into the log, on SIGUSR2 (spec operation 2).

Needs DEBUG for the logger ``nodepool.stack_dump`` to be seen. It must never change what the program does otherwise.
"""

from __future__ import annotations

import importlib
import io
import logging
import signal
import sys
import threading
import traceback
from types import FrameType, ModuleType

_log = logging.getLogger("nodepool.stack_dump")


def install() -> None:
    """Dump the stacks at every SIGUSR2 from now on. Only from the main thread.

    A signal that arrives while a dump is being written is ignored. Where the profiler ``yappi`` is installed, the first
    signal also starts it and the next one logs its findings and stops it; where ``objgraph`` is installed, the types of
    which most objects were added since the last dump are logged.
    """
    signal.signal(signal.SIGUSR2, _handle)


def _handle(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        _log.debug("Beginning debug handler")
        log_stacks()
        _toggle_profiler()
        _log_object_growth()
        _log.debug("End debug handler")
    finally:
        signal.signal(signal.SIGUSR2, _handle)


def log_stacks() -> None:
    """Log id, name, daemon flag and stack of each thread at DEBUG, one message per thread. From any thread."""
    threads = {thread.ident: thread for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        thread = threads.get(ident)
        name = thread.name if thread else "(not a Python thread)"
        daemon = thread.daemon if thread else None
        stack = "".join(traceback.format_stack(frame)).rstrip()
        _log.debug("Thread: %s %s d: %s\n%s", ident, name, daemon, stack)


def _optional(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _toggle_profiler() -> None:
    yappi = _optional("yappi")
    if yappi is None:
        return
    if not yappi.is_running():
        _log.debug("Starting the profiler")
        yappi.start()
        return
    yappi.stop()
    output = io.StringIO()
    yappi.get_func_stats().print_all(out=output)
    yappi.get_thread_stats().print_all(out=output)
    _log.debug("Profile:\n%s", output.getvalue())
    yappi.clear_stats()


def _log_object_growth() -> None:
    objgraph = _optional("objgraph")
    if objgraph is None:
        return
    output = io.StringIO()
    objgraph.show_growth(limit=100, file=output)
    _log.debug("Object growth:\n%s", output.getvalue())
