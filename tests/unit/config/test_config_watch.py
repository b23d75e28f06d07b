"""Noticing that a file changed (spec config 13)."""

from __future__ import annotations

import os
from pathlib import Path

from nodepool.config.watch import stamp


def test_an_untouched_file_keeps_its_stamp(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("x")
    assert stamp([path, None]) == stamp([str(path), None])


def test_a_missing_file_and_no_file_have_none(tmp_path: Path) -> None:
    assert stamp([tmp_path / "gone", None]) == (None, None)


def test_new_time_new_size_and_a_rename_into_place_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("x")
    first = stamp([path])
    times = (os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns)
    os.utime(path, ns=(times[0], times[1] + 1))
    assert stamp([path]) != first
    path.write_text("xy")
    os.utime(path, ns=times)
    assert stamp([path]) != first
    other = tmp_path / "b"
    other.write_text("z")
    os.utime(other, ns=times)
    other.rename(path)
    assert stamp([path]) != first


def test_a_switched_link_is_seen(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("x")
    link = tmp_path / "link"
    link.symlink_to("a")
    first = stamp([link])
    link.unlink()
    link.symlink_to("b")
    assert stamp([link]) != first


def test_a_file_that_appears_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a"
    missing = stamp([path])
    path.write_text("")
    assert stamp([path]) != missing


def test_new_permissions_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("x")
    first = stamp([path])
    path.chmod(0o600)
    assert stamp([path]) != first
