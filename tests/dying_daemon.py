"""``nodepool-builder`` or ``nodepool-launcher``, killed at an exact place of its own code; all else about it is real.

``python -m tests.dying_daemon builder|launcher PLACE [OPTION ...]``. A place is ``MODULE:FUNCTION:MOMENT:NUMBER``: the
process gets SIGKILL when the function is called (``call``) or ends (``return``) for the n-th time, in whatever thread.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from types import CodeType, FrameType
from typing import Any

from nodepool.cmd import builder, launcher

PROGRAMS = {"builder": builder.main, "launcher": launcher.main}


class Death:
    """Watches for the place. Given to :func:`sys.setprofile`."""

    def __init__(self, place: str) -> None:
        module, function, self._moment, number = place.split(":")
        self._code = _code_of(module, function)
        self._left = int(number)

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Called by the interpreter."""
        if event == self._moment and frame.f_code is self._code:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)


def _code_of(module: str, function: str) -> CodeType:
    found: Any = importlib.import_module(module)
    for name in function.split("."):
        found = getattr(found, name)
    code: CodeType = found.__code__
    return code


if __name__ == "__main__":
    death = Death(sys.argv[2])
    threading.setprofile(death)
    sys.setprofile(death)
    sys.exit(PROGRAMS[sys.argv[1]](sys.argv[3:]))
