"""What to say of a name that does not exist: the names that do, the nearest first. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_NAMES = 12
"""Names that one message shows at most."""


def there_are(wanted: str, names: Iterable[str]) -> str:
    """``it has a, b and c; did you mean 'b'?``, for the end of a message about ``wanted``."""
    known = sorted({name for name in names if name})
    if not known:
        return "it has none"
    return f"it has {enumerate_names(wanted, known)}{did_you_mean(wanted, known)}"


def did_you_mean(wanted: str, names: Iterable[str]) -> str:
    """``; did you mean 'b'?`` when one of ``names`` is much like ``wanted``, else nothing."""
    by_lower = {name.lower(): name for name in names if name != wanted}
    near = difflib.get_close_matches(wanted.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean '{by_lower[near[0]]}'?" if near else ""


def enumerate_names(wanted: str, names: Iterable[str]) -> str:
    """Some of ``names``, those most like ``wanted`` among them: ``a, b and 3 more``."""
    known = sorted(set(names))
    if len(known) <= MOST_NAMES:
        return ", ".join(known)
    near = difflib.get_close_matches(wanted, known, n=MOST_NAMES, cutoff=0.0)
    return f"{', '.join(sorted(near))} and {len(known) - len(near)} more"
