"""Builds by real processes: how they succeed, fail, and are ended (spec builder 3)."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nodepool.builder.dib.processes import process_of
from nodepool.builder.files import ImageFiles
from tests.builds import BUILD, OTHER_BUILD, STUB, Site
from tests.zookeeper import eventually


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_build_leaves_verified_images_with_checksums(site: Site) -> None:
    result = site.build()
    assert (result.ok, result.reason, result.formats, result.return_code) == (True, "", ("qcow2", "raw"), 0)
    files = ImageFiles(site.images)
    assert files.builds() == {("small", BUILD): ("qcow2", "raw")}
    for image_format in result.formats:
        content = files.path("small", BUILD, image_format).read_bytes()
        digests = hashlib.md5(content).hexdigest(), hashlib.sha256(content).hexdigest()
        assert files.checksums("small", BUILD, image_format) == digests
    assert f"small-{BUILD}.d" in site.names()
    assert site.left_behind() == []


def test_checksum_files_can_be_checked_where_they_lie(site: Site) -> None:
    site.build()
    names = sorted(name for name in site.names() if name.endswith(".sha256"))
    assert len(names) == 2
    subprocess.run(["sha256sum", "--check", "--quiet", *names], cwd=site.images, check=True)


def test_the_log_has_both_outputs_in_order_and_the_exit_code(site: Site) -> None:
    order = replace(site.order(), elements_dir="/nowhere")
    assert site.build(order).ok
    lines = site.log(order).splitlines()
    assert lines[0] == "building qcow2,raw from one two, release none"
    assert lines[1] == "a warning"
    assert lines[-1] == "Exit code: 0"


def test_missing_checksums_are_computed(site: Site) -> None:
    assert site.build(site.order(STUB_DIB="plain")).ok
    content = (site.images / f"small-{BUILD}.raw").read_bytes()
    assert ImageFiles(site.images).checksums("small", BUILD, "raw")[0] == hashlib.md5(content).hexdigest()


@pytest.mark.parametrize(
    ("mode", "code", "reason"),
    [
        ("fail", 7, "the command ended with exit status 7"),
        ("full", 1, "the command ended with exit status 1: a disk was full (No space left on device)"),
        ("hangup", -1, "the command was ended by SIGHUP"),
        ("missing", 0, f"the command left no small-{BUILD}.qcow2"),
        ("empty", 0, f"small-{BUILD}.qcow2 is empty"),
        ("garbage", 0, f"small-{BUILD}.qcow2 is no qcow2"),
    ],
)
def test_a_failed_build_leaves_nothing_but_its_log(site: Site, mode: str, code: int, reason: str) -> None:
    order = site.order(STUB_DIB=mode)
    result = site.build(order)
    assert (result.ok, result.reason, result.formats, result.return_code) == (False, reason, (), code)
    assert site.names() == set()
    assert site.left_behind() == []
    assert site.log(order).splitlines()[-2:] == [f"The build has failed: {reason}", f"Exit code: {code}"]


@pytest.mark.skipif(os.geteuid() != 0, reason="to mount a small disk needs root: run this test as root")
def test_a_full_disk_is_named_even_if_the_log_does_not(site: Site) -> None:
    site.temp.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", site.temp], check=True)
    try:
        result = site.build(site.order(STUB_DIB="fills"))
    finally:
        subprocess.run(["umount", site.temp], check=True)
    assert result.reason == f"the command ended with exit status 1: no room is left in {site.temp}"


def test_a_command_that_is_not_there_is_named(site: Site) -> None:
    order = site.order()
    result = site.build(replace(order, disk_image=replace(order.disk_image, dib_cmd="no-such-program --fast")))
    assert not result.ok
    assert result.reason == "the command no-such-program cannot be started: No such file or directory"
    assert site.left_behind() == []


def test_quotes_that_do_not_match_are_a_reason(site: Site) -> None:
    order = site.order()
    result = site.build(replace(order, disk_image=replace(order.disk_image, dib_cmd="sh -c 'exit")))
    assert result.reason == 'dib-cmd: No closing quotation in "sh -c \'exit"'


def test_the_time_out_ends_the_whole_build(site: Site) -> None:
    order = site.begin("hang", build_timeout=1)
    result = site.result()
    assert (result.ok, result.return_code) == (False, None)
    assert result.reason == "the command did not end within 1 s (build-timeout)"
    assert site.left_behind() == []
    assert "cleaned up" in site.log(order), "the command was not asked to end before it was killed"
    assert "Exit code" not in site.log(order)


@pytest.mark.parametrize("mode", ["stubborn", "orphan"])
def test_a_build_that_ignores_everything_is_killed_with_its_grandchildren(tmp_path: Path, mode: str) -> None:
    site = Site(tmp_path, grace=0.5)
    order = site.begin(mode)
    leader, stray = _pid_in_state(site.work(order)), _stray(site.work(order) / f"{order.stem}.stray")
    began = time.monotonic()
    site.runner.stop("small", BUILD, "enough")
    assert site.result().reason == "enough"
    assert time.monotonic() - began < 4
    assert process_of(leader) is None
    assert process_of(stray) is None, "a child in a session of its own, without any mark, is still there"
    assert site.left_behind() == []


def test_stopping_asks_for_cleaning_up_first(site: Site) -> None:
    order = site.begin("hang")
    site.runner.stop("small", BUILD, "the builder was stopped")
    assert site.result().reason == "the builder was stopped"
    assert "cleaned up" in site.log(order)
    assert site.left_behind() == []


def test_stopping_what_does_not_run_is_no_error(site: Site) -> None:
    site.runner.stop("small", BUILD, "enough")
    assert site.results.empty()


def test_a_process_that_stays_behind_after_success_is_ended(site: Site) -> None:
    assert site.build(site.order(STUB_DIB="background")).ok
    assert site.left_behind() == []


def test_a_build_is_not_begun_without_free_space(site: Site) -> None:
    result = site.build(replace(site.order(), free_space=1 << 41))
    assert not result.ok
    assert result.reason.endswith(f"GiB are free in {site.images}, at least 2048 GiB must be")
    assert not site.logs.exists()


def test_a_build_is_not_begun_while_the_images_take_all_that_they_may(site: Site) -> None:
    site.images.mkdir(exist_ok=True)
    (site.images / "large.raw").write_bytes(b"x" * (1 << 20))
    result = site.build(replace(site.order(), most_space=1 << 20))
    assert (result.ok, result.reason) == (False, f"{site.images} holds 0.0 GiB, and may hold 0.000976562 GiB")
    (site.images / "large.raw").unlink()
    assert site.build(replace(site.order(), most_space=1 << 20)).ok


def test_builds_of_different_images_run_side_by_side(site: Site, tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    orders = [site.order(build_id, STUB_DIB_HOLD=str(hold)) for build_id in (BUILD, OTHER_BUILD)]
    for order in orders:
        site.runner.start(order, site.results.put)
    eventually(lambda: all(site.work(order).exists() for order in orders))
    hold.unlink()
    assert {site.result().build_id, site.result().build_id} == {BUILD, OTHER_BUILD}
    assert set(ImageFiles(site.images).builds()) == {("small", BUILD), ("small", OTHER_BUILD)}


def test_an_output_is_not_seen_before_it_is_complete(site: Site, tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    order = site.order(STUB_DIB_HOLD=str(hold))
    site.runner.start(order, site.results.put)
    eventually(lambda: (site.logs / f"{order.stem}.log").exists())
    assert ImageFiles(site.images).builds() == {}
    hold.unlink()
    assert site.result().ok


def test_old_logs_of_this_image_go_and_no_others(site: Site) -> None:
    site.logs.mkdir()
    others = [f"small-arm-{BUILD}.log", "small.log", "notes.txt"]
    old = [f"small-{number:032x}.log" for number in range(4)]
    for age, name in enumerate([*old, *others]):
        (site.logs / name).touch()
        os.utime(site.logs / name, (1000 + age, 1000 + age))
    order = replace(site.order(), log_retention=2)
    assert site.build(order).ok
    assert {path.name for path in site.logs.iterdir()} == {*others, *old[2:], f"{order.stem}.log"}


@pytest.mark.parametrize("mode", ["hang", "stubborn"])
def test_what_a_killed_builder_left_is_ended_and_removed(tmp_path: Path, mode: str) -> None:
    site = Site(tmp_path, grace=0.5)
    builder = _builder(tmp_path, mode)
    try:
        order = site.order()
        eventually((site.work(order) / f"{order.stem}.hanging").exists)
        leader = _pid_in_state(site.work(order))
        stray = _stray(site.work(order) / f"{order.stem}.stray") if mode == "stubborn" else None
    finally:
        builder.send_signal(signal.SIGKILL)
        builder.wait()
    assert process_of(leader) is not None, "the build has not outlived the builder"
    (site.images / f"small-{BUILD}.raw").write_text("half published")
    assert site.runner.recover() == [BUILD]
    assert process_of(leader) is None
    assert stray is None or process_of(stray) is None
    assert site.names() == set()
    assert site.left_behind() == []
    assert site.runner.recover() == []


def test_recovery_leaves_running_builds_and_finished_images_alone(site: Site) -> None:
    assert site.build(site.order(OTHER_BUILD)).ok
    site.begin("hang")
    assert site.runner.recover() == []
    assert set(ImageFiles(site.images).builds()) == {("small", OTHER_BUILD)}
    site.runner.stop("small", BUILD, "enough")
    assert site.result().reason == "enough"


def test_a_directory_that_was_just_begun_is_removed(site: Site) -> None:
    work = site.work(site.order())
    work.mkdir(parents=True)
    assert site.runner.recover() == [BUILD]
    assert not work.exists()


def _pid_in_state(work: Path) -> int:
    leader = json.loads((work / "build.json").read_text())["leader"]
    return int(leader["pid"])


def _stray(file: Path) -> int:
    """The child with a session of its own, which has nothing that tells whose it is but its parent."""
    pid = int(file.read_text())
    process = process_of(pid)
    assert process is not None
    assert process.session == pid
    return pid


def _builder(root: Path, mode: str) -> subprocess.Popen[bytes]:
    """A process of its own that begins a build."""
    program = f"""
        import threading
        from pathlib import Path
        from tests.builds import Site
        site = Site(Path({str(root)!r}))
        site.runner.start(site.order(STUB_DIB={mode!r}), print)
        threading.Event().wait()
    """
    repository = STUB.parents[2]
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], cwd=repository)
