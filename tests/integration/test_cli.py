"""The program ``nodepool`` against a real ZooKeeper, beside clients that read and write as Zuul and Jenkins do."""

from __future__ import annotations

import getpass
import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient

from tests.command_line import HOST, Commands, cells, put
from tests.launcher_process import LauncherProcess, fake_provider, zookeeper_client
from tests.sshd import Sshd, generate_key
from tests.zookeeper import Place, Proxy, eventually

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBoy4x8yK9k3uQ1iT2l0cYxYcQp1sVd0Q2VQb0mWJ3Kp"
READY = {
    "state": "ready",
    "state_time": 1.0,
    "provider": "static-1",
    "pool": "main",
    "type": ["jammy"],
    "external_id": "127.0.0.9",
    "interface_ip": "127.0.0.9",
    "connection_type": "ssh",
    "connection_port": 2222,
    "ssh_port": 2222,
    "username": "zuul",
    "host_keys": [KEY],
}
POOL = {
    "kind": "pool",
    "hostname": "nl1",
    "id": "nl1-static-1",
    "name": "main",
    "provider_name": "static-1",
    "supported_labels": ["jammy", "noble"],
}
NODE_HEADER = ["ID", "Provider", "Label", "Server ID", "Public IPv4", "IPv6", "State", "Age", "Locked"]


@pytest.fixture
def nodepool(tmp_path: Path, zookeeper: Place) -> Commands:
    return Commands(tmp_path, zookeeper)


@pytest.fixture
def peer(zookeeper: Place) -> Iterator[KazooClient]:
    with zookeeper_client(zookeeper) as client:
        yield client


def put_node(peer: KazooClient, **changes: Any) -> str:
    return put(peer, "/nodepool/nodes/", {**READY, **changes}, sequence=True).rpartition("/")[2]


def node(peer: KazooClient, node_id: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(peer.get(f"/nodepool/nodes/{node_id}")[0])
    return record


def contenders(peer: KazooClient, node_id: str) -> list[str]:
    directory = f"/nodepool/nodes/{node_id}/lock"
    return list(peer.get_children(directory)) if peer.exists(directory) else []


# Looking


def test_list_of_an_empty_zookeeper(nodepool: Commands) -> None:
    done = nodepool.run("list")
    rule, header, *rest = done.stdout.splitlines()
    assert cells(header) == [NODE_HEADER]
    assert rest == [rule, rule]
    assert done.stderr == ""
    assert nodepool.json("list") == []
    assert cells(nodepool.run("request-list").stdout)[0][0] == "Request ID"


def test_list_shows_what_others_wrote_and_names_what_is_broken(nodepool: Commands, peer: KazooClient) -> None:
    zuul = put_node(peer, state="in-use", user_data={"zuul_system": "s"}, surprise=1)
    jenkins = put_node(peer, build_id="7", type="jammy")
    with peer.Lock(f"/nodepool/nodes/{zuul}/lock"):
        put(peer, "/nodepool/nodes/0000000090", b"")
        put(peer, "/nodepool/nodes/0000000091", b"{")
        put(peer, "/nodepool/nodes/0000000092", {"build_id": "no state"})
        done = nodepool.run("list")
    assert [row[0] for row in cells(done.stdout)] == ["ID", zuul, jenkins]
    assert [row[-1] for row in cells(done.stdout)] == ["Locked", "locked", "unlocked"]
    warnings = done.stderr.splitlines()
    assert warnings[0] == "WARNING: node 0000000090: cannot be read: the znode is empty; it is left alone"
    assert [line.split(":")[1].strip() for line in warnings] == [
        f"node {id}" for id in ("0000000090", "0000000091", "0000000092")
    ]
    assert len(peer.get_children("/nodepool/nodes")) == 5


def test_detail_and_json_have_the_same_values(nodepool: Commands, peer: KazooClient) -> None:
    put_node(peer, connection_port={"token": "SECRET"}, comment="two\nlines", type=["a", "b"])
    header, row = cells(nodepool.run("list", "--detail").stdout)
    (found,) = nodepool.json("list", "--detail")
    assert len(header) == len(row) == len(found) == 21
    assert (found["label"], row[2]) == (["a", "b"], "a,b")
    assert (found["connection_port"], row[header.index("Port")]) == ("redacted", "redacted")
    assert (found["comment"], row[header.index("Comment")]) == ("two\nlines", "two\\nlines")


def test_request_list(nodepool: Commands, peer: KazooClient) -> None:
    big = 312312644215438567100414707468360678011
    record = {
        "state": "requested",
        "node_types": ["jammy", "noble"],
        "requestor_data": {"trace_id": big},
        "event_id": "e",
    }
    normal = put(peer, "/nodepool/requests/200-", record, sequence=True).rpartition("/")[2]
    high = put(peer, "/nodepool/requests/100-", record, sequence=True).rpartition("/")[2]
    put(peer, "/nodepool/requests/odd", record)
    done = nodepool.run("request-list")
    assert cells(done.stdout)[1:] == [[id, "0", "requested", "", "jammy,noble", "", "", "e"] for id in (high, normal)]
    assert done.stderr.startswith("WARNING: request odd: ")
    assert nodepool.json("request-list")[0]["node_types"] == ["jammy", "noble"]


def test_info(nodepool: Commands, peer: KazooClient) -> None:
    put(peer, "/nodepool/images/i/builds/b/providers/static-1/images/0000000001", {"state": "ready"})
    node_id = put_node(peer)
    put_node(peer, provider="other")
    done = nodepool.run("info", "static-1")
    assert done.stdout.startswith("ZooKeeper data for provider static-1\n\nImage data:\n+-")
    assert cells(done.stdout) == [
        ["Image Name", "Build ID", "Upload IDs"],
        ["i", "b", "0000000001"],
        ["ID", "Server ID"],
        [node_id, "127.0.0.9"],
    ]
    assert nodepool.json("info", "static-1") == {
        "provider": "static-1",
        "images": [{"image_name": "i", "build_id": "b", "upload_ids": ["0000000001"]}],
        "nodes": [{"id": node_id, "server_id": "127.0.0.9"}],
    }
    assert nodepool.json("info", "nobody") == {"provider": "nobody", "images": [], "nodes": []}


# Nodes


def test_delete_marks_the_record_and_keeps_the_rest_of_it(nodepool: Commands, peer: KazooClient) -> None:
    node_id = put_node(peer, state="hold", build_id="7", surprise={"a": 1})
    before = node(peer, node_id)
    (_, row) = cells(nodepool.run("delete", node_id).stdout)
    assert (row[0], row[6], row[8]) == (node_id, "deleting", "unlocked")
    after = node(peer, node_id)
    assert after["state_time"] == pytest.approx(time.time(), abs=60)
    assert {key: after[key] for key in before} == {**before, "state": "deleting", "state_time": after["state_time"]}
    assert contenders(peer, node_id) == []
    nodepool.run("delete", node_id)


@pytest.mark.parametrize("command", [("delete",), ("delete", "--now"), ("hold",)])
def test_a_locked_node_is_left_alone_and_its_holder_named(
    nodepool: Commands, peer: KazooClient, command: Sequence[str]
) -> None:
    node_id = put_node(peer, state="in-use", allocated_to="200-0000000001")
    before = node(peer, node_id)
    with peer.Lock(f"/nodepool/nodes/{node_id}/lock", identifier="jenkins_42"):
        began = time.monotonic()
        done = nodepool.run(*command, node_id, status=1)
        assert 5 <= time.monotonic() - began < 15
        assert f"Node {node_id} is locked by jenkins_42 (ZooKeeper session {peer.client_id[0]:#x})" in done.stderr
        assert "its state is in-use, allocated to 200-0000000001" in done.stderr
        assert len(contenders(peer, node_id)) == 1
    assert node(peer, node_id) == before
    assert peer.get(f"/nodepool/nodes/{node_id}")[1].version == 0


def test_a_launcher_that_locks_without_a_name_is_recognised(nodepool: Commands, peer: KazooClient) -> None:
    put(peer, "/nodepool/components/launcher/nl1", {"kind": "launcher", "hostname": "nl1"}, ephemeral=True)
    node_id = put_node(peer, state="building")
    with peer.Lock(f"/nodepool/nodes/{node_id}/lock"):
        assert "is locked by launcher on nl1 (" in nodepool.run("delete", node_id, status=1).stderr


def test_a_lock_that_is_given_up_in_time_is_taken(nodepool: Commands, peer: KazooClient) -> None:
    node_id = put_node(peer)
    lock = peer.Lock(f"/nodepool/nodes/{node_id}/lock")
    lock.acquire()
    with nodepool.started("hold", node_id) as process:
        eventually(lambda: len(contenders(peer, node_id)) == 2)
        lock.release()
        assert process.wait(20) == 0
    assert node(peer, node_id)["state"] == "hold"


def test_hold(nodepool: Commands, peer: KazooClient) -> None:
    node_id = put_node(peer)
    assert [row["state"] for row in nodepool.json("hold", node_id)] == ["hold"]
    assert node(peer, node_id)["state"] == "hold"


def test_hold_of_a_node_that_is_being_made_is_refused(nodepool: Commands, peer: KazooClient) -> None:
    node_id = put_node(peer, state="building")
    done = nodepool.run("hold", node_id, status=1)
    assert done.stderr == f"nodepool: Node {node_id} is building and cannot become hold; nothing was changed\n"
    assert not peer.exists(f"/nodepool/nodes/{node_id}/lock")


@pytest.mark.parametrize(
    "arguments",
    [
        ("hold", "0000000099"),
        ("delete", "0000000099"),
        ("delete", "--now", "0000000099"),
        ("delete", ""),
        ("delete", "--now", "../requests"),
        ("hold", "x\ny"),
    ],
)
def test_unknown_nodes(nodepool: Commands, peer: KazooClient, arguments: Sequence[str]) -> None:
    put_node(peer)
    done = nodepool.run(*arguments, status=1)
    assert done.stderr.startswith("nodepool: Node id ")
    assert done.stderr.endswith(" not found\n")
    assert len(done.stderr.splitlines()) == 1
    assert len(peer.get_children("/nodepool/nodes")) == 1


@pytest.mark.parametrize(
    ("data", "command"), [(b"", ("delete",)), (b"{", ("delete", "--now")), (b'{"state": "melted"}', ("hold",))]
)
def test_broken_nodes_are_left_alone(
    nodepool: Commands, peer: KazooClient, data: bytes, command: Sequence[str]
) -> None:
    put(peer, "/nodepool/nodes/0000000005", data)
    assert "Node 0000000005 cannot be read: " in nodepool.run(*command, "0000000005", status=1).stderr
    assert peer.get("/nodepool/nodes/0000000005")[0] == data
    assert peer.get_children("/nodepool/nodes/0000000005") == []


def test_delete_now_of_a_static_node_removes_its_record(nodepool: Commands, peer: KazooClient) -> None:
    node_id = put_node(peer)
    peer.Lock(f"/nodepool/nodes/{node_id}/lock").acquire(blocking=False)
    peer.delete(f"/nodepool/nodes/{node_id}/lock/{contenders(peer, node_id)[0]}")
    assert len(cells(nodepool.run("delete", node_id, "--now").stdout)) == 1
    assert peer.get_children("/nodepool/nodes") == []


def test_delete_now_of_a_cloud_node(nodepool: Commands, peer: KazooClient) -> None:
    nodepool.write(providers=[fake_provider("fake-1", ["jammy"])])
    node_id = put_node(peer, provider="fake-1", state="used", external_id="gone already")
    assert nodepool.json("delete", node_id, "--now") == []
    assert peer.get_children("/nodepool/nodes") == []


def test_delete_now_needs_the_provider(nodepool: Commands, peer: KazooClient) -> None:
    node_id = put_node(peer, provider="elsewhere")
    done = nodepool.run("delete", node_id, "--now", status=1)
    assert f"Provider elsewhere for node {node_id} not defined on this launcher" in done.stderr
    assert node(peer, node_id)["state"] == "ready"


# Providers


@pytest.mark.parametrize("answer", ["y\n", "Y"])
def test_erase(nodepool: Commands, peer: KazooClient, answer: str) -> None:
    for number in range(120):
        put(peer, f"/nodepool/nodes/{number:010d}/lock", b"")
        peer.set(f"/nodepool/nodes/{number:010d}", json.dumps(READY).encode())
    other = put_node(peer, provider="other")
    put(peer, "/nodepool/nodes/0000009999", b"")
    build = "/nodepool/images/0000000001/builds/b"
    put(peer, f"{build}/providers/static-1/images/0000000001", {"state": "ready"})
    put(peer, f"{build}/providers/static-1/images/lock", b"")
    put(peer, f"{build}/providers/other/images/0000000001", {"state": "ready"})
    done = nodepool.run("erase", "static-1", answer=answer)
    assert "It cannot be undone." in done.stdout
    assert "Erase ZooKeeper data for provider static-1? [N/y] " in done.stdout
    assert sorted(peer.get_children("/nodepool/nodes")) == sorted([other, "0000009999"])
    assert peer.get_children(f"{build}/providers") == ["other"]
    assert peer.exists(f"{build}/providers/other/images/0000000001")


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "yes please\n"])
def test_erase_is_not_done_without_a_clear_yes(nodepool: Commands, peer: KazooClient, answer: str) -> None:
    put_node(peer)
    assert nodepool.run("erase", "static-1", answer=answer, status=1).stderr == "nodepool: Aborting. No data erased.\n"
    assert len(peer.get_children("/nodepool/nodes")) == 1


def test_erase_by_force_asks_nothing_and_knows_when_there_is_nothing(nodepool: Commands, peer: KazooClient) -> None:
    put_node(peer)
    assert nodepool.run("erase", "static-1", "--force").stdout == ""
    assert peer.get_children("/nodepool/nodes") == []
    assert "holds no data of provider static-1" in nodepool.run("erase", "static-1", "--force", status=1).stderr


# Requests


def test_request_delete(nodepool: Commands, peer: KazooClient) -> None:
    request_id = put(peer, "/nodepool/requests/200-", {"state": "requested"}, sequence=True).rpartition("/")[2]
    nodepool.run("request-delete", request_id)
    assert peer.get_children("/nodepool/requests") == []
    for unknown in (request_id, "../nodes"):
        assert "not found" in nodepool.run("request-delete", unknown, status=1).stderr
    assert peer.exists("/nodepool/requests")


def wait_for_request(peer: KazooClient) -> str:
    """Path of the one request there is, once it is there."""
    root = "/nodepool/requests"
    eventually(lambda: peer.exists(root) and peer.get_children(root))
    return f"{root}/{peer.get_children(root)[0]}"


def serve(peer: KazooClient, count: int = 1) -> tuple[str, list[str]]:
    """Play a launcher: fulfil the request that comes, and return its path and its nodes."""
    path = wait_for_request(peer)
    request_id = path.rpartition("/")[2]
    node_ids = [put_node(peer, allocated_to=request_id) for _ in range(count)]
    record = json.loads(peer.get(path)[0])
    peer.set(path, json.dumps({**record, "state": "fulfilled", "nodes": node_ids}).encode())
    return path, node_ids


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    """Read the standard error of a command up to the line with ``text``."""
    assert process.stderr is not None
    lines = []
    while text not in (line := process.stderr.readline()):
        lines.append(line)
        assert line, f"{text!r} was not said, only {lines}"


@pytest.fixture
def pool(peer: KazooClient) -> None:
    put(peer, "/nodepool/components/pool/nl1", POOL, ephemeral=True, sequence=True)


@pytest.mark.usefixtures("pool")
def test_request_of_a_label_that_nobody_offers(nodepool: Commands, peer: KazooClient) -> None:
    done = nodepool.run("request", "jammy", "beos", status=1)
    assert done.stderr == "nodepool: No running launcher offers the label beos; labels offered now: jammy, noble\n"
    assert not peer.exists("/nodepool/requests")


def test_request_without_any_launcher(nodepool: Commands) -> None:
    assert "none (does a nodepool-launcher run?)" in nodepool.run("request", "jammy", status=1).stderr


@pytest.mark.usefixtures("pool")
def test_the_request_has_all_that_zuul_reads_and_goes_with_its_maker(nodepool: Commands, peer: KazooClient) -> None:
    with nodepool.started("request", "jammy", "jammy") as process:
        path = wait_for_request(peer)
        data, stat = peer.get(path)
        record = json.loads(data)
        assert stat.ephemeralOwner
        assert path.startswith("/nodepool/requests/100-")
        assert record["node_types"] == ["jammy", "jammy"]
        assert (record["state"], record["provider"], record["requestor_data"]) == ("requested", None, None)
        assert record["requestor"].startswith("NodePool:cli:")
        assert record["state_time"] == pytest.approx(time.time(), abs=60)
        assert len(record["event_id"]) == 32
        assert "tenant_name" not in record
        assert process.stderr is not None
        assert process.stderr.readline() == f"Request {path.rpartition('/')[2]} for jammy, jammy is made\n"
        assert process.stderr.readline().endswith(" waits for static-1/main\n")
        peer.set(path, json.dumps({**record, "state": "pending", "declined_by": ["other"]}).encode())
        line = process.stderr.readline()
        assert "is pending: a launcher has taken it" in line
        assert "declined by 1 that is gone" in line
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert "Traceback" not in process.stderr.read()
        eventually(lambda: not peer.exists(path), 2)


@pytest.mark.usefixtures("pool")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_nodes_are_used_and_returned(nodepool: Commands, peer: KazooClient, number: signal.Signals) -> None:
    with nodepool.started("request", "jammy", "jammy") as process:
        path, node_ids = serve(peer, 2)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(8)]
        assert lines[0] == f"Node {node_ids[0]} (jammy) of static-1: in-use\n"
        assert lines[1] == "  ssh -p 2222 zuul@127.0.0.9\n"
        assert lines[3].startswith("    ED25519 SHA256:")
        assert lines[4].startswith(f"Node {node_ids[1]} ")
        assert [node(peer, node_id)["state"] for node_id in node_ids] == ["in-use", "in-use"]
        assert all(len(contenders(peer, node_id)) == 1 for node_id in node_ids)
        assert not peer.exists(path)
        holder = peer.get(f"/nodepool/nodes/{node_ids[0]}/lock/{contenders(peer, node_ids[0])[0]}")[0]
        assert holder.startswith(b"NodePool:cli:")
        wait_for_line(process, "in use by you")
        process.send_signal(number)
        assert process.wait(20) == 0
    assert [node(peer, node_id)["state"] for node_id in node_ids] == ["used", "used"]
    assert [contenders(peer, node_id) for node_id in node_ids] == [[], []]


@pytest.mark.usefixtures("pool")
def test_enter_returns_the_nodes_at_a_terminal(nodepool: Commands, peer: KazooClient) -> None:
    terminal, stdin = pty.openpty()
    with nodepool.started("request", "jammy", stdin=stdin) as process:
        _, (node_id,) = serve(peer)
        wait_for_line(process, "Press Enter")
        assert node(peer, node_id)["state"] == "in-use"
        os.write(terminal, b"\n")
        assert process.wait(20) == 0
    assert node(peer, node_id)["state"] == "used"
    assert contenders(peer, node_id) == []


@pytest.mark.usefixtures("pool")
def test_a_lost_session_ends_the_use(nodepool: Commands, peer: KazooClient, zookeeper: Place) -> None:
    with Proxy(int(zookeeper.hosts.rpartition(":")[2])) as proxy:
        server = {"host": "127.0.0.1", "port": proxy.port, "chroot": zookeeper.chroot}
        nodepool.write(**{"zookeeper-servers": [server], "zookeeper-timeout": 2.0})
        with nodepool.started("request", "jammy") as process:
            _, (node_id,) = serve(peer)
            wait_for_line(process, "in use by you")
            proxy.stall()
            _, stderr = process.communicate(timeout=30)
            assert process.returncode == 1
    assert "The ZooKeeper session was lost, and the locks with it: the nodes are being deleted" in stderr
    assert "Returned" not in stderr
    eventually(lambda: not contenders(peer, node_id))
    assert node(peer, node_id)["state"] == "in-use"


@pytest.mark.usefixtures("pool")
def test_request_with_hold(nodepool: Commands, peer: KazooClient, tmp_path: Path) -> None:
    known_hosts = tmp_path / "known hosts"
    arguments = ("request", "jammy", "--hold", "--json", "--known-hosts", str(known_hosts))
    with nodepool.started(*arguments) as process:
        path, (node_id,) = serve(peer)
        stdout, _ = process.communicate(timeout=20)
        assert process.returncode == 0
    (shown,) = json.loads(stdout)["nodes"]
    assert (shown["id"], shown["state"], shown["locked"]) == (node_id, "hold", "unlocked")
    assert shown["known_hosts"] == [f"[127.0.0.9]:2222 {KEY}"]
    assert shown["ssh_command"].startswith(
        f"ssh -o 'UserKnownHostsFile=\"{known_hosts}\"' -o StrictHostKeyChecking=yes"
    )
    assert known_hosts.read_text() == f"[127.0.0.9]:2222 {KEY}\n"
    held = node(peer, node_id)
    assert held["state"] == "hold"
    assert held["comment"].startswith("nodepool request --hold by ")
    assert contenders(peer, node_id) == []
    assert not peer.exists(path)
    nodepool.run("delete", node_id)


@pytest.mark.usefixtures("pool")
def test_a_request_that_fails(nodepool: Commands, peer: KazooClient) -> None:
    with nodepool.started("request", "jammy") as process:
        path = wait_for_request(peer)
        record = json.loads(peer.get(path)[0])
        peer.set(path, json.dumps({**record, "state": "failed", "declined_by": [POOL["id"]]}).encode())
        _, stderr = process.communicate(timeout=20)
        assert process.returncode == 1
    assert "failed: no pool could serve it; declined by static-1/main" in stderr
    eventually(lambda: not peer.exists(path), 2)


@pytest.mark.usefixtures("pool")
def test_a_request_that_somebody_deletes(nodepool: Commands, peer: KazooClient) -> None:
    with nodepool.started("request", "jammy") as process:
        peer.delete(wait_for_request(peer))
        _, stderr = process.communicate(timeout=20)
        assert process.returncode == 1
    assert "was deleted" in stderr


@pytest.mark.usefixtures("pool")
def test_a_request_that_takes_too_long(nodepool: Commands, peer: KazooClient) -> None:
    done = nodepool.run("request", "jammy", "--timeout", "0.2", status=1)
    assert "was not fulfilled within 0.2 s; it waits for static-1/main" in done.stderr
    assert peer.get_children("/nodepool/requests") == []


@pytest.mark.usefixtures("pool")
def test_a_node_that_went_to_somebody_else_is_not_taken(nodepool: Commands, peer: KazooClient) -> None:
    with nodepool.started("request", "jammy") as process:
        path = wait_for_request(peer)
        record = json.loads(peer.get(path)[0])
        node_id = put_node(peer, allocated_to="200-0000000001")
        peer.set(path, json.dumps({**record, "state": "fulfilled", "nodes": [node_id]}).encode())
        _, stderr = process.communicate(timeout=20)
        assert process.returncode == 1
    assert "is allocated to 200-0000000001 now" in stderr
    assert node(peer, node_id)["state"] == "ready"
    assert contenders(peer, node_id) == []


def test_a_real_launcher_serves_a_person(
    nodepool: Commands, peer: KazooClient, zookeeper: Place, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    with Sshd(authorized_key=generate_key(key)) as sshd:
        host = {**HOST, "name": sshd.address, "connection-port": sshd.port, "username": getpass.getuser()}
        provider = {"name": "static-1", "driver": "static", "pools": [{"name": "main", "nodes": [host]}]}
        with LauncherProcess(tmp_path, zookeeper, providers=[provider], labels=["jammy"]):
            with nodepool.started("request", "jammy", "--json", "--known-hosts", str(tmp_path / "hosts")) as process:
                wait_for_line(process, "in use by you")
                (first,) = peer.get_children("/nodepool/nodes")
                process.send_signal(signal.SIGINT)
                stdout, _ = process.communicate(timeout=20)
            (shown,) = json.loads(stdout)["nodes"]
            assert set(shown["host_keys"]) == sshd.host_keys
            assert shown["ssh_command"].startswith("ssh -o ")
            login = f"ssh -F none -i {key} -o BatchMode=yes {shown['ssh_command'].removeprefix('ssh ')} echo hello"
            done = subprocess.run(login, shell=True, capture_output=True, text=True, timeout=20)
            assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
            eventually(lambda: first not in peer.get_children("/nodepool/nodes"))
            nodepool.run("request", "jammy", "--hold")
            held = nodepool.json("list")
            assert [row["state"] for row in held] == ["hold"]
            nodepool.run("delete", held[0]["id"])
            eventually(lambda: [row["state"] for row in nodepool.json("list")] == ["ready"])


# Configuration and usage


def test_config_validate_needs_no_zookeeper(nodepool: Commands) -> None:
    nodepool.write(**{"zookeeper-servers": [{"host": "127.0.0.1", "port": 1}]})
    assert nodepool.run("config-validate").stdout == f"{nodepool.file}: valid\n"
    nodepool.write(labels=[{"nam": "jammy"}], surprise=1)
    done = nodepool.run("config-validate", status=1)
    lines = done.stderr.splitlines()
    assert len(lines) >= 3
    assert all(line.startswith(f"{nodepool.file}:") for line in lines[:-1])
    assert any("surprise" in line for line in lines)
    assert lines[-1].startswith(f"nodepool: {nodepool.file}: not valid, ")


def test_config_validate_reads_the_secure_file(nodepool: Commands, tmp_path: Path) -> None:
    secure = tmp_path / "secure.yaml"
    secure.write_text("zookeeper-tls: {password: hunter2}\n")
    done = nodepool.run("-s", str(secure), "config-validate", status=1)
    assert str(secure) in done.stderr
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("", "the file is empty"),
        ("providers: [", "not valid YAML"),
        ("labels: []\nproviders: []\n", "no ZooKeeper servers are given"),
        (
            "zookeeper-servers: [{host: localhost}]\nzookeeper-tls: {cert: /no, key: /no, ca: /no}\n",
            "/no cannot be read",
        ),
    ],
)
def test_wrong_configurations(nodepool: Commands, document: str, text: str) -> None:
    nodepool.file.write_text(document)
    done = nodepool.run("list", status=1)
    assert text in done.stderr
    assert str(nodepool.file) in done.stderr


def test_a_configuration_that_is_not_there(nodepool: Commands) -> None:
    nodepool.file.unlink()
    done = nodepool.run("list", status=1)
    assert f"{nodepool.file}: the file does not exist" in done.stderr
    assert "-c FILE" in done.stderr


def test_a_logging_configuration_that_is_not_there(nodepool: Commands) -> None:
    assert "Unable to read logging config file at /nope" in nodepool.run("-l", "/nope", "list", status=1).stderr


def test_zookeeper_that_does_not_answer(nodepool: Commands) -> None:
    nodepool.write(**{"zookeeper-servers": [{"host": "127.0.0.1", "port": 1}]})
    done = nodepool.run("--wait", "0.5", "list", status=1)
    assert "no connection to ZooKeeper: 127.0.0.1:1: " in done.stderr
    assert "waited 0.5 s" in done.stderr
    with nodepool.started("list") as process:
        assert process.stderr is not None
        assert "Waiting for ZooKeeper: 127.0.0.1:1" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr.read() == ""


def test_a_reader_that_ends_early(nodepool: Commands, peer: KazooClient) -> None:
    for _ in range(300):
        put_node(peer, comment="x" * 1000)
    line = subprocess.list2cmdline(nodepool.command("list", "--detail"))
    done = subprocess.run(
        ["bash", "-c", f"{line} | head -1; exit ${{PIPESTATUS[0]}}"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (141, "")


def test_help_version_and_wrong_usage(nodepool: Commands) -> None:
    assert nodepool.run("--version").stdout.startswith("Nodepool version: ")
    assert nodepool.run(status=1).stdout.startswith("usage: nodepool ")
    for wrong in (
        ["lisst"],
        ["list", "--detial"],
        ["delete"],
        ["list", "extra"],
        ["request"],
        ["--wait", "-1", "list"],
    ):
        assert nodepool.run(*wrong, status=2).stderr.startswith("usage: nodepool")
