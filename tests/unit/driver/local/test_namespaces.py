"""What forbids namespaces on a host is told by its kernel's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodepool.driver.local.namespaces import remedy


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("user/max_user_namespaces", "0", "as root, run sysctl -w user.max_user_namespaces=10000"),
        ("user/max_user_namespaces", "100", ""),
        ("kernel/apparmor_restrict_unprivileged_userns", "0", ""),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "as root, run sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ],
)
def test_the_setting_that_forbids_them_is_named(tmp_path: Path, name: str, value: str, said: str) -> None:
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text(f"{value}\n")
    assert remedy(tmp_path) == said


def test_nothing_is_known_to_forbid_them(tmp_path: Path) -> None:
    assert remedy(tmp_path) == ""
