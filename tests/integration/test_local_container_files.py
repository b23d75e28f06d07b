"""The files that make a container one of its own stay inside of the image, whatever its links say."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from nodepool.driver.errors import BadLabel
from nodepool.driver.local.container_files import account, archive_for
from nodepool.driver.local.machine import Image, NodePlan


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An unpacked image with one user."""
    tree = tmp_path / "tree"
    (tree / "etc/ssh").mkdir(parents=True)
    (tree / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nzuul:x:1000:1000::/home/zuul:/bin/sh\n")
    return tree


def unpack(tmp_path: Path, tree: Path) -> set[str]:
    """Put the files into the tree as the start of a container does; returns all of the tree and beside it."""
    plan = NodePlan(
        "one", tmp_path, "np1", Image("i", tmp_path, "tar", tmp_path), 1, 512, "127.0.0.1", 22, "zuul", "KEY", "PUBLIC"
    )
    archive = archive_for(plan, tree)
    subprocess.run(["tar", "-x", "--no-same-owner", "-f", "-"], cwd=tree, stdin=archive, check=True)
    os.close(archive)
    return {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}


def test_a_link_of_the_image_leads_to_the_image(tmp_path: Path, tree: Path) -> None:
    outside = tmp_path / "outside"
    for name in ("home/zuul", "keys"):
        (outside / name).mkdir(parents=True)
    (tree / "etc/ssh").rmdir()
    (tree / "etc/ssh").symlink_to(outside / "keys")
    (tree / "home").symlink_to(f"../../../../../..{outside}/home")
    found = unpack(tmp_path, tree)
    inside = f"tree{outside}"
    assert {f"{inside}/keys/ssh_host_ed25519_key", f"{inside}/home/zuul/.ssh/authorized_keys"} <= found
    assert [name for name in found if name.startswith("outside")] == []


def test_links_inside_of_the_image_are_followed(tmp_path: Path, tree: Path) -> None:
    (tree / "data/zuul").mkdir(parents=True)
    (tree / "home").symlink_to("data")
    assert "tree/data/zuul/.ssh/authorized_keys" in unpack(tmp_path, tree)
    assert (tree / "home").is_symlink()


def test_the_users_are_those_of_the_image(tmp_path: Path, tree: Path) -> None:
    (tmp_path / "passwd").write_text("mallory:x:0:0::/:/bin/sh\n")
    (tree / "etc/passwd").unlink()
    (tree / "etc/passwd").symlink_to(tmp_path / "passwd")
    with pytest.raises(BadLabel, match="the image has no /etc/passwd"):
        account(tree, "mallory")


def test_links_without_end_are_told(tree: Path) -> None:
    (tree / "etc/passwd").unlink()
    (tree / "etc/passwd").symlink_to("passwd")
    with pytest.raises(BadLabel, match="/etc/passwd leads over too many symbolic links"):
        account(tree, "zuul")
