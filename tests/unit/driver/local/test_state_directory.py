"""The state directory: appears whole, tells who is at work, and survives whoever wrote it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nodepool.driver.errors import CloudError, Misconfigured, QuotaExceeded
from nodepool.driver.local import disk
from nodepool.driver.local.state_directory import NodeNote, Outcome, StateDirectory

NOTE = NodeNote("1-a", {"nodepool_node_id": "1"}, "qemu", "image-1", "np1", "127.0.0.2", 22, "ssh-ed25519 AAAA", 2, 512)


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    made = StateDirectory(tmp_path / "state")
    made.make()
    return made


def test_a_machine_is_noted_and_held_from_the_first_moment(state: StateDirectory) -> None:
    hold = state.add(NOTE)
    assert state.notes() == (NOTE,)
    assert StateDirectory(state.path).note("1-a") == NOTE
    assert state.is_held("1-a")
    assert state.hold("1-a") is None
    hold.release()
    hold.release()
    assert not state.is_held("1-a")


def test_before_anything_is_made_there_is_nothing(tmp_path: Path) -> None:
    assert StateDirectory(tmp_path / "state").notes() == ()


def test_outcomes_say_what_went_wrong(state: StateDirectory) -> None:
    state.add(NOTE)
    assert state.outcome("1-a") is None
    state.end("1-a", Outcome(QuotaExceeded, "no room"))
    assert state.outcome("1-a") == Outcome(QuotaExceeded, "no room")
    state.end("1-a", Outcome())
    assert state.outcome("1-a") == Outcome()
    state.end("gone", Outcome())


def test_a_machine_that_is_to_go_goes_with_all_its_files(state: StateDirectory) -> None:
    state.add(NOTE).release()
    (state.directory("1-a") / "disk").write_bytes(b"x")
    assert not state.is_deleting("1-a")
    state.mark_deleting("1-a")
    assert state.is_deleting("1-a")
    state.forget("1-a")
    state.forget("1-a")
    assert state.is_deleting("1-a")
    assert list(state.nodes.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "..", "../images", ".gone-1", None, 7])
def test_strange_ids_are_nobodys(state: StateDirectory, name: object) -> None:
    assert state.note(name) is None  # type: ignore[arg-type]


def test_a_damaged_note_hides_no_other(state: StateDirectory) -> None:
    state.add(NOTE)
    damaged = state.nodes / "0-x"
    damaged.mkdir()
    (damaged / "node.json").write_text('{"id": ')
    assert state.notes() == (NOTE,)


def test_what_killed_processes_left_is_swept(state: StateDirectory) -> None:
    state.add(NOTE)
    for name in (".gone-1", ".new-1", ".new-at-work"):
        (state.nodes / name).mkdir()
        (state.nodes / name / "node.json").touch()
    hold = disk.hold(state.nodes / ".new-at-work")
    assert hold is not None
    state.sweep()
    assert {path.name for path in state.nodes.iterdir()} == {"1-a", ".new-at-work"}
    hold.release()


def test_a_lock_ends_with_the_process_that_held_it(state: StateDirectory) -> None:
    state.add(NOTE).release()
    program = "import sys; from pathlib import Path; from nodepool.driver.local import disk\n"
    program += "hold = disk.hold(Path(sys.argv[1])); print(hold is not None, flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(state.directory("1-a"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert state.is_held("1-a")
        holder.kill()
    assert not state.is_held("1-a")


def test_a_place_that_cannot_be_used_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured, match=r"state-dir .*file/state cannot be used: .*name another one"):
        StateDirectory(tmp_path / "file" / "state").make()


def test_a_full_disk_is_a_lack_of_room() -> None:
    with pytest.raises(QuotaExceeded, match="cannot write: No space left on device: free some space"):  # noqa: SIM117
        with disk.cloud_errors("write"):
            Path("/dev/full").write_text("x")


def test_other_trouble_with_the_disk_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(CloudError, match="cannot read: No such file") as raised, disk.cloud_errors("read"):
        (tmp_path / "missing").read_text()
    assert not isinstance(raised.value, QuotaExceeded)
