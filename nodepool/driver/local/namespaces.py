"""Why this host does not let somebody make namespaces, by the settings of its kernel."""

from __future__ import annotations

from pathlib import Path

_SETTINGS = (
    ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
    ("user/max_user_namespaces", "0", "user.max_user_namespaces=10000"),
)
"""A setting, the value that forbids it, and what allows it."""


def remedy(settings: Path = Path("/proc/sys")) -> str:
    """The command that allows it; "" if no setting is known to forbid it."""
    for name, forbids, allows in _SETTINGS:
        try:
            value = (settings / name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if value == forbids:
            return f"as root, run sysctl -w {allows}"
    return ""
