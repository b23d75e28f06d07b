"""Colours of states in tables, for people at a terminal only. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from nodepool.admin.table import Paint

_RED, _GREEN, _YELLOW, _MAGENTA, _CYAN = 31, 32, 33, 35, 36
_STATES = {
    **dict.fromkeys(("ready", "fulfilled", "active"), _GREEN),
    **dict.fromkeys(("init", "building", "requested", "pending", "uploading"), _YELLOW),
    "in-use": _CYAN,
    **dict.fromkeys(("hold", "paused"), _MAGENTA),
    **dict.fromkeys(("failed", "aborted", "error"), _RED),
}
_COLUMNS = ("state", "build_request")


def paint_for(environment: Mapping[str, str], *, at_terminal: bool) -> Paint | None:
    """What colours cells; None where nothing is to be coloured.

    That is so when the output is no terminal, when ``NO_COLOR`` is set to anything but the empty text
    (no-color.org), and on a terminal that cannot.
    """
    if not at_terminal or environment.get("NO_COLOR") or environment.get("TERM", "dumb") == "dumb":
        return None
    return _painted


def _painted(key: str, text: str) -> str:
    colour = _STATES.get(text.strip()) if key in _COLUMNS else None
    return text if colour is None else f"\x1b[{colour}m{text}\x1b[0m"
