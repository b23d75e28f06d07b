"""The image commands of ``nodepool`` against a real ZooKeeper, beside clients that write as builders of Nodepool 11."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient

from nodepool.config.load import load
from nodepool.driver.fake.images import FakeImages
from nodepool.driver.image_adapter import ImageOrder
from tests.command_line import STATIC, Commands, cells, put
from tests.launcher_process import fake_provider, zookeeper_client
from tests.zookeeper import Place, eventually
from tools.cloud.process import CloudProcess

BUILD_ID = "4c8e2c1e8a524f0b9b0e0c2f5d1e7a11"
RUNNING_ID = "0f3a2c1e8a524f0b9b0e0c2f5d1e7a22"
ROOT = "/nodepool/images"
BUILD = {
    "state": "ready",
    "state_time": 1.0,
    "builder": "nb1.example.org",
    "builder_id": "0f3a",
    "formats": "qcow2,raw",
    "username": "zuul",
    "python_path": "auto",
    "shell_type": None,
    "surprise": {"a": 1},
}
UPLOAD = {
    "state": "ready",
    "state_time": 2.0,
    "external_id": "b7e4",
    "external_name": "jammy-1",
    "format": "qcow2",
    "username": "zuul",
    "python_path": "auto",
    "shell_type": None,
}
IMAGES = [
    {"name": "jammy", "elements": ["ubuntu-minimal"]},
    {"name": "noble", "elements": ["ubuntu-minimal"], "pause": True},
]
DELETE_UPLOAD = ("image-delete", "--provider", "west", "--image", "jammy", "--build-id", BUILD_ID, "--upload-id")


@pytest.fixture
def nodepool(tmp_path: Path, zookeeper: Place) -> Commands:
    commands = Commands(tmp_path, zookeeper)
    commands.document |= {"diskimages": IMAGES, "build-log-dir": str(tmp_path / "logs"), "images-dir": str(tmp_path)}
    commands.write()
    (tmp_path / "logs").mkdir()
    return commands


@pytest.fixture
def peer(zookeeper: Place) -> Iterator[KazooClient]:
    with zookeeper_client(zookeeper) as client:
        yield client


def put_build(peer: KazooClient, image: str = "jammy", build_id: str = BUILD_ID, **changes: Any) -> str:
    return put(peer, f"{ROOT}/{image}/builds/{build_id}", {**BUILD, **changes})


def put_upload(peer: KazooClient, build: str, number: int = 1, provider: str = "west", **changes: Any) -> str:
    return put(peer, f"{build}/providers/{provider}/images/{number:010}", {**UPLOAD, **changes})


def start_builder(peer: KazooClient) -> None:
    put(peer, "/nodepool/components/builder/nb10000000001", {"kind": "builder", "hostname": "nb1"}, ephemeral=True)


def record(peer: KazooClient, path: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(peer.get(path)[0])
    return value


# Lists


def test_lists_of_an_empty_zookeeper(nodepool: Commands) -> None:
    for command in ("image-list", "dib-image-list", "image-status"):
        done = nodepool.run(command)
        assert len(cells(done.stdout)) == 1
        assert done.stderr == ""
        assert nodepool.json(command) == []


def test_lists(nodepool: Commands, peer: KazooClient) -> None:
    build = put_build(peer, state_time=time.time() - 3600)
    put_upload(peer, build, 12)
    put(peer, f"{build}/lock", b"")
    put_upload(peer, put_build(peer, "alma"), state="uploading", external_id=None, external_name=None)
    put(peer, f"{ROOT}/alma/pause", b"")
    done = nodepool.run("image-list")
    assert [row[:7] for row in cells(done.stdout)[1:]] == [
        [BUILD_ID, "0000000001", "west", "alma", "", "", "uploading"],
        [BUILD_ID, "0000000012", "west", "jammy", "jammy-1", "b7e4", "ready"],
    ]
    header, alma, jammy = cells(nodepool.run("dib-image-list").stdout)
    assert header == ["ID", "Image", "Builder", "Formats", "State", "Age"]
    assert alma[:5] == [f"alma-{BUILD_ID}", "alma", "nb1.example.org", "qcow2,raw", "paused"]
    assert (jammy[4], jammy[5][:7]) == ("ready", "00:01:0")
    assert [row["formats"] for row in nodepool.json("dib-image-list")] == [["qcow2", "raw"]] * 2
    assert nodepool.json("image-list")[1]["age"] == 2
    assert [(row["image"], row["paused"]) for row in nodepool.json("image-status")] == [
        ("alma", True),
        ("jammy", False),
    ]


def test_broken_records_hide_no_others(nodepool: Commands, peer: KazooClient) -> None:
    put_build(peer)
    put(peer, f"{ROOT}/jammy/builds/{RUNNING_ID}", b"")
    done = nodepool.run("dib-image-list")
    assert len(cells(done.stdout)) == 2
    assert done.stderr == f"WARNING: build jammy-{RUNNING_ID}: cannot be read: the znode is empty; it is left alone\n"


def test_status_with_details_tells_what_is_put_off(nodepool: Commands, peer: KazooClient) -> None:
    put_build(peer, state="failed", failures=3, retry_at=time.time() + 3600, error="the build command ended with 1")
    done = nodepool.run("image-status", "--detail")
    _, status, _, row = cells(done.stdout)
    assert status == ["jammy", "False", "", ""]
    assert row[:5] == ["jammy", "", "nb1.example.org", "failed", "3"]
    assert row[5].startswith("00:00:59:") or row[5] == "00:01:00:00"
    assert row[6] == "the build command ended with 1"
    told = nodepool.json("image-status", "--detail")
    assert (told["images"][0]["image"], told["backoff"][0]["failures"]) == ("jammy", 3)


# Builds by hand, and pauses


def test_image_build(nodepool: Commands, peer: KazooClient) -> None:
    start_builder(peer)
    done = nodepool.run("image-build", "jammy")
    assert (done.stdout, done.stderr) == ("", "")
    flag = peer.exists(f"{ROOT}/jammy/request-build")
    assert flag is not None
    (row,) = nodepool.json("image-status")
    assert row == {
        "image": "jammy",
        "paused": False,
        "build_request": "pending",
        "build_request_age": int(flag.ctime / 1000),
    }


def test_image_build_is_asked_for_anew_unless_it_is_being_made(nodepool: Commands, peer: KazooClient) -> None:
    start_builder(peer)
    nodepool.run("image-build", "jammy")
    first = peer.exists(f"{ROOT}/jammy/request-build").czxid
    put_build(peer, state="failed")
    assert nodepool.run("image-build", "jammy").stderr == ""
    second = peer.exists(f"{ROOT}/jammy/request-build").czxid
    assert second > first
    put_build(peer, build_id=RUNNING_ID, state="building")
    with peer.Lock(f"{ROOT}/jammy/builds/lock"):
        done = nodepool.run("image-build", "jammy")
    assert done.stderr == "A build of jammy was asked for already, and it is being made\n"
    assert peer.exists(f"{ROOT}/jammy/request-build").czxid == second


def test_image_build_of_what_cannot_be_built(nodepool: Commands, peer: KazooClient) -> None:
    unknown = nodepool.run("image-build", "alma", status=1).stderr
    assert unknown.startswith("nodepool: Trying to build a non disk-image-builder image: alma; ")
    assert "jammy, noble" in unknown
    assert "Skipping build request for image noble; paused" in nodepool.run("image-build", "noble", status=1).stderr
    assert not peer.exists(ROOT)


def test_image_build_tells_what_the_build_will_wait_for(nodepool: Commands) -> None:
    nodepool.run("image-pause", "jammy")
    done = nodepool.run("image-build", "jammy")
    assert "image-unpause jammy" in done.stderr
    assert "no nodepool-builder is running" in done.stderr


def test_pause_and_unpause(nodepool: Commands, peer: KazooClient) -> None:
    put_build(peer, "alma")
    for image in ("jammy", "alma"):
        for _ in range(2):
            done = nodepool.run("image-pause", image)
            assert (done.stdout, done.stderr) == ("", "")
            assert peer.exists(f"{ROOT}/{image}/pause")
        for _ in range(2):
            nodepool.run("image-unpause", image)
            assert not peer.exists(f"{ROOT}/{image}/pause")


@pytest.mark.parametrize("command", ["image-pause", "image-unpause"])
@pytest.mark.parametrize("image", ["elsewhere", "", "../nodes", "a\nb"])
def test_pause_of_an_unknown_image(nodepool: Commands, peer: KazooClient, command: str, image: str) -> None:
    assert " not found: neither ZooKeeper nor this configuration" in nodepool.run(command, image, status=1).stderr
    assert not peer.exists("/nodepool/images/elsewhere")
    assert not peer.exists("/nodepool/nodes")


# Deleting


def test_image_delete(nodepool: Commands, peer: KazooClient) -> None:
    upload = put_upload(peer, put_build(peer), surprise=[1])
    done = nodepool.run(*DELETE_UPLOAD, "0000000001")
    assert (done.stdout, done.stderr) == ("", "")
    after = record(peer, upload)
    assert after["state_time"] == pytest.approx(time.time(), abs=60)
    assert after == {**UPLOAD, "surprise": [1], "state": "deleting", "state_time": after["state_time"]}
    assert peer.get_children(f"{upload}/lock") == []
    nodepool.run(*DELETE_UPLOAD, "0000000001")
    assert record(peer, upload) == after


def test_image_delete_refuses(nodepool: Commands, peer: KazooClient) -> None:
    upload = put_upload(peer, put_build(peer), state="uploading")
    for number in ("0000000002", "lock", "../..", ""):
        assert nodepool.run(*DELETE_UPLOAD, number, status=1).stderr == "nodepool: Image upload not found\n"
    done = nodepool.run(*DELETE_UPLOAD, "0000000001", status=1)
    assert done.stderr == "nodepool: Cannot delete because image upload in progress\n"
    assert record(peer, upload)["state"] == "uploading"
    assert peer.get_children(upload) == []
    assert nodepool.run("image-delete", "--provider", "west", status=2).stderr.startswith(
        "usage: nodepool image-delete"
    )


def test_dib_image_delete(nodepool: Commands, peer: KazooClient) -> None:
    build = put_build(peer, "ubuntu-jammy")
    nodepool.run("dib-image-delete", f"ubuntu-jammy-{BUILD_ID}")
    after = record(peer, build)
    assert after == {**BUILD, "state": "deleting", "state_time": after["state_time"]}
    assert peer.get_children(f"{build}/lock") == []


@pytest.mark.parametrize("build_id", ["jammy", "-", "jammy-", f"jammy-{RUNNING_ID}", "jammy-lock", "a/b-c", ""])
def test_dib_image_delete_of_an_unknown_build(nodepool: Commands, peer: KazooClient, build_id: str) -> None:
    put_build(peer)
    done = nodepool.run("dib-image-delete", build_id, status=1)
    assert done.stderr.startswith("nodepool: Build ")
    assert done.stderr.endswith(" not found\n")


def test_dib_image_delete_of_a_running_build(nodepool: Commands, peer: KazooClient) -> None:
    build = put_build(peer, state="building")
    done = nodepool.run("dib-image-delete", f"jammy-{BUILD_ID}", status=1)
    assert "Cannot delete a build in progress" in done.stderr
    assert record(peer, build)["state"] == "building"


def test_a_record_that_a_builder_has_locked_is_left_alone(nodepool: Commands, peer: KazooClient) -> None:
    build = put_build(peer)
    with peer.Lock(f"{build}/lock", identifier="nb1"):
        done = nodepool.run("dib-image-delete", f"jammy-{BUILD_ID}", status=1)
        assert f"Build jammy-{BUILD_ID} is locked by nb1 and was not unlocked within 5 s" in done.stderr
    assert peer.get(build)[1].version == 0
    assert peer.get_children(f"{build}/lock") == []


def test_what_a_builder_wrote_under_the_lock_is_kept(nodepool: Commands, peer: KazooClient) -> None:
    upload = put_upload(peer, put_build(peer))
    lock = peer.Lock(f"{upload}/lock")
    lock.acquire()
    with nodepool.started(*DELETE_UPLOAD, "0000000001") as process:
        eventually(lambda: len(peer.get_children(f"{upload}/lock")) == 2)
        peer.set(upload, json.dumps({**UPLOAD, "external_id": "other"}).encode())
        lock.release()
        assert process.wait(20) == 0
    assert (record(peer, upload)["state"], record(peer, upload)["external_id"]) == ("deleting", "other")


def test_a_record_that_goes_away_while_its_lock_is_awaited_stays_away(nodepool: Commands, peer: KazooClient) -> None:
    upload = put_upload(peer, put_build(peer))
    peer.Lock(f"{upload}/lock").acquire()
    with nodepool.started(*DELETE_UPLOAD, "0000000001") as process:
        eventually(lambda: len(peer.get_children(f"{upload}/lock")) == 2)
        removal = peer.transaction()
        for name in peer.get_children(f"{upload}/lock"):
            removal.delete(f"{upload}/lock/{name}")
        removal.delete(f"{upload}/lock")
        removal.delete(upload)
        removal.commit()
        assert process.wait(20) == 1
        assert process.stderr is not None
        assert "Upload 0000000001 went away" in process.stderr.read()
    assert not peer.exists(upload)


def test_broken_records_are_left_alone(nodepool: Commands, peer: KazooClient) -> None:
    path = put(peer, f"{ROOT}/jammy/builds/{BUILD_ID}", b"{")
    assert "cannot be read: not JSON" in nodepool.run("dib-image-delete", f"jammy-{BUILD_ID}", status=1).stderr
    assert peer.get(path)[0] == b"{"


# Export and import


def tree(peer: KazooClient, root: str = ROOT) -> dict[str, bytes]:
    found = {}
    for name in peer.get_children(root):
        path = f"{root}/{name}"
        found[path] = peer.get(path)[0]
        found |= tree(peer, path)
    return found


def fill(peer: KazooClient) -> None:
    for image in ("jammy", "alma"):
        build = put_build(peer, image)
        put_upload(peer, build, 3)
        put_upload(peer, build, 250)
        put_upload(peer, build, provider="east")
    put(peer, f"{ROOT}/alma/pause", b"")


def test_images_survive_the_loss_of_zookeepers_data(nodepool: Commands, peer: KazooClient, tmp_path: Path) -> None:
    fill(peer)
    put(peer, f"{ROOT}/jammy/request-build", b"")
    put(peer, f"{ROOT}/jammy/builds/lock", b"")
    before = {path: data for path, data in tree(peer).items() if data or path.endswith("/pause")}
    file = tmp_path / "images.json"
    file.write_text("x" * 100_000)
    assert nodepool.run("export-image-data", str(file)).stdout == ""
    assert json.loads(file.read_text()) == {path: data.decode() for path, data in before.items()}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(tmp_path.iterdir()) == sorted([file, tmp_path / "logs", tmp_path / "nodepool.yaml"])

    peer.delete("/nodepool", recursive=True)
    for _ in range(2):
        done = nodepool.run("import-image-data", str(file))
        assert (done.stdout, done.stderr) == ("", "")
        after = tree(peer)
        assert {path: data for path, data in after.items() if data or path.endswith("/pause")} == before
        assert not [path for path in after if "request-build" in path or "lock" in path]
    folder = f"{ROOT}/jammy/builds/{BUILD_ID}/providers/west/images"
    assert int(peer.create(f"{folder}/", b"{}", sequence=True)[-10:]) > 250


def test_import_waits_for_no_builder_to_end(nodepool: Commands, peer: KazooClient, tmp_path: Path) -> None:
    fill(peer)
    file = tmp_path / "images.json"
    nodepool.run("export-image-data", str(file))
    peer.delete(ROOT, recursive=True)
    start_builder(peer)
    done = nodepool.run("import-image-data", str(file), status=1)
    assert done.stderr.startswith("nodepool: nodepool-builder runs on nb1: stop all builders first")
    assert not peer.exists(ROOT)


def test_import_of_what_contradicts_zookeeper_changes_nothing(
    nodepool: Commands, peer: KazooClient, tmp_path: Path
) -> None:
    fill(peer)
    file = tmp_path / "images.json"
    nodepool.run("export-image-data", str(file))
    peer.delete(f"{ROOT}/jammy", recursive=True)
    peer.set(f"{ROOT}/alma/builds/{BUILD_ID}", b'{"state": "deleting"}')
    before = tree(peer)
    done = nodepool.run("import-image-data", str(file), status=1)
    assert "ZooKeeper holds another record there" in done.stderr
    assert tree(peer) == before


def test_files_that_cannot_be_used(nodepool: Commands, peer: KazooClient, tmp_path: Path) -> None:
    for command, verb in (("import-image-data", "read"), ("export-image-data", "written")):
        done = nodepool.run(command, "/nope/x", status=1)
        assert done.stderr == f"nodepool: /nope/x: cannot be {verb}: No such file or directory\n"
    file = tmp_path / "images.json"
    for content in (b"\xff", b"[]", b'{"/nodepool/nodes/0000000001": "{}"}'):
        file.write_bytes(content)
        assert str(file) in nodepool.run("import-image-data", str(file), status=1).stderr
    assert not peer.exists(ROOT)


def test_export_to_a_pipe(nodepool: Commands, peer: KazooClient) -> None:
    fill(peer)
    assert len(json.loads(nodepool.run("export-image-data", "/dev/stdout").stdout)) == 9


# Logs


def log_of(nodepool: Commands, build_id: str, image: str = "jammy") -> Path:
    return nodepool.file.parent / "logs" / f"{image}-{build_id}.log"


def test_image_log_shows_the_last_build_of_just_this_image(nodepool: Commands) -> None:
    log_of(nodepool, BUILD_ID).write_bytes(b"hello \xff\nExit code: 0\n")
    log_of(nodepool, RUNNING_ID, "jammy-arm").write_bytes(b"another image")
    done = subprocess.run(nodepool.command("image-log", "jammy"), capture_output=True, timeout=60)
    assert done.stdout == b"hello \xff\nExit code: 0\n"
    assert done.stderr == f"{log_of(nodepool, BUILD_ID)}\n".encode()


def test_image_log_follows_a_build_to_its_end(nodepool: Commands, peer: KazooClient) -> None:
    build = put_build(peer, state="building")
    with log_of(nodepool, BUILD_ID).open("w") as log, nodepool.started("image-log", "-f", "jammy") as process:
        assert process.stdout is not None
        for line in ("one\n", "two\n"):
            log.write(line)
            log.flush()
            assert process.stdout.readline() == line
        assert process.poll() is None
        log.write("Exit code: 0\n")
        log.flush()
        peer.set(build, json.dumps(BUILD).encode())
        assert process.wait(20) == 0
        assert process.stdout.read() == "Exit code: 0\n"


def test_image_log_follows_until_the_record_is_gone_or_ctrl_c(nodepool: Commands, peer: KazooClient) -> None:
    build = put_build(peer, state="building")
    log_of(nodepool, BUILD_ID).write_text("one\n")
    with nodepool.started("image-log", "-f", "jammy") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "one\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    with nodepool.started("image-log", "jammy", "-f") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "one\n"
        peer.delete(build)
        assert process.wait(20) == 0


def test_image_log_of_a_build_elsewhere(nodepool: Commands, peer: KazooClient) -> None:
    put_build(peer, state="building")
    where = f"build {BUILD_ID} of jammy runs on nb1.example.org: its log is there"
    done = nodepool.run("image-log", "jammy", "-f", status=1)
    assert "has no log of a build of jammy" in done.stderr
    assert where in done.stderr
    log_of(nodepool, RUNNING_ID).write_text("old\n")
    done = nodepool.run("image-log", "jammy", "-f")
    assert (done.stdout, where in done.stderr) == ("old\n", True)


@pytest.mark.parametrize("arguments", [("image-log", "unknown"), ("image-log", "../x"), ("image-log", "")])
def test_image_log_of_nothing(nodepool: Commands, arguments: Sequence[str]) -> None:
    assert nodepool.run(*arguments, status=1).stdout == ""


def test_image_log_without_a_directory_of_logs(nodepool: Commands) -> None:
    nodepool.write(**{"build-log-dir": "/nope"})
    assert "/nope has no log of a build of jammy" in nodepool.run("image-log", "jammy", status=1).stderr


# Aliens


def fake(nodepool: Commands, name: str, **keys: Any) -> dict[str, Any]:
    place = {"images-dir": str(nodepool.file.parent / "cloud")}
    return {**fake_provider(name, ["jammy"], fake=place), "diskimages": [{"name": "jammy"}], **keys}


def uploaded(nodepool: Commands, provider: str, name: str, number: int) -> str:
    """Upload an image to a fake cloud, as a builder does; returns its id there."""
    file = nodepool.file.parent / "image"
    file.write_bytes(b"image")
    order = ImageOrder(name, str(file), "raw", BUILD_ID, f"{number:010}")
    return FakeImages(provider, nodepool.file.parent / "cloud").upload(order, 10.0)


def test_aliens_are_images_without_a_record(nodepool: Commands, peer: KazooClient) -> None:
    nodepool.write(providers=[STATIC, fake(nodepool, "fake-w"), fake(nodepool, "fake-e")])
    build = put_build(peer)
    known = uploaded(nodepool, "fake-w", "known", 1)
    put_upload(peer, build, 1, "fake-w", external_id=known)
    uploaded(nodepool, "fake-w", "in-progress", 2)
    put_upload(peer, build, 2, "fake-w", state="uploading", external_id=None)
    lost_w, lost_e = uploaded(nodepool, "fake-w", "lost-1", 3), uploaded(nodepool, "fake-e", "lost-2", 1)
    assert cells(nodepool.run("alien-image-list").stdout) == [
        ["Provider", "Name", "Image ID"],
        ["fake-w", "lost-1", lost_w],
        ["fake-e", "lost-2", lost_e],
    ]
    assert nodepool.json("alien-image-list", "fake-e") == [{"provider": "fake-e", "name": "lost-2", "image_id": lost_e}]


def test_aliens_need_a_provider_with_images(nodepool: Commands) -> None:
    assert nodepool.json("alien-image-list") == []
    assert "is not in this configuration; there are: static-1" in nodepool.run("alien-image-list", "x", status=1).stderr
    assert "static-1 lists no diskimages" in nodepool.run("alien-image-list", "static-1", status=1).stderr


def test_aliens_of_openstack_and_a_cloud_that_is_away(
    nodepool: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CloudProcess(tmp_path / "openstack", {"region": {"images": [{"name": "base"}]}}) as cloud:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds_yaml))
        west = {"name": "west", "cloud": "simulated", "rate": 0.001, "diskimages": [{"name": "jammy"}]}
        nodepool.write(providers=[west, fake(nodepool, "fake-e")])
        config = load(str(nodepool.file)).providers["west"]
        running = config.driver.getProvider(config)
        assert running.image_adapter is not None
        file = tmp_path / "image"
        file.write_bytes(b"\0" * 512)
        lost = running.image_adapter.upload(ImageOrder("lost", str(file), "raw", BUILD_ID, "0000000001"), 20.0)
        running.image_adapter.stop()
        assert nodepool.json("alien-image-list") == [{"provider": "west", "name": "lost", "image_id": lost}]
    lost_e = uploaded(nodepool, "fake-e", "lost", 1)
    done = nodepool.run("alien-image-list", status=1)
    assert cells(done.stdout)[1:] == [["fake-e", "lost", lost_e]]
    assert "provider west could not be asked: " in done.stderr
