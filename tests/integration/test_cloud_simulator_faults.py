"""The simulated cloud when things go wrong, as unpatched openstacksdk sees it, and as a process."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from keystoneauth1 import exceptions as auth_exceptions
from openstack import exceptions
from openstack.connection import Connection

from tests.simulated_cloud import SETTINGS, connect, create, order, user
from tests.zookeeper import eventually
from tools.certificates import Authority
from tools.cloud.client import ControlError
from tools.cloud.process import CloudFailed, CloudProcess

pytestmark = [
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning:openstack"),
    pytest.mark.filterwarnings("ignore::openstack.warnings.LegacyAPIWarning"),
]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    """One cloud for all tests here that do not hurt it."""
    with CloudProcess(tmp_path_factory.mktemp("cloud"), SETTINGS) as process:
        yield process


@pytest.fixture
def client(simulated: CloudProcess) -> Iterator[Connection]:
    """A user who leaves nothing behind."""
    with user(simulated) as connection:
        yield connection


def test_a_quota_is_told_as_nova_does(simulated: CloudProcess, client: Connection) -> None:
    wanted = order(client)
    simulated.control.change("east", quota={"instances": 0})
    with pytest.raises(exceptions.ForbiddenException, match="Quota exceeded for instances: Requested 1"):
        client.compute.create_server(**wanted)
    simulated.control.change("east", quota={"instances": 1000})
    assert simulated.control.region("east")["servers"]["refused"] == 1


def test_a_failed_build_tells_why(simulated: CloudProcess, client: Connection) -> None:
    simulated.control.add_faults(servers=[{"fault": "no-valid-host"}])
    server = create(client)
    assert (server.status, server.fault["code"]) == ("ERROR", 500)
    assert server.fault["message"] == "No valid host was found. There are not enough hosts available."


def test_an_answer_lost_after_success_leaves_a_server_to_be_found(simulated: CloudProcess, client: Connection) -> None:
    wanted = order(client, metadata={"nodepool_node_id": "7"})
    rule = {"calls": ["compute.server.create"], "at_most": 1}
    simulated.control.add_faults(calls=[rule | {"fault": "error-after", "status": 502}])
    with pytest.raises(exceptions.HttpException) as caught:
        client.compute.create_server(**wanted)
    assert caught.value.status_code == 502
    simulated.control.add_faults(calls=[rule | {"fault": "cut-after"}])
    with pytest.raises(auth_exceptions.ConnectFailure):
        client.compute.create_server(**wanted)
    simulated.control.add_faults(calls=[rule | {"fault": "hang-after", "seconds": 60}])
    with pytest.raises(auth_exceptions.ConnectTimeout):
        client.compute.post("/servers", json={"server": _raw(wanted)}, timeout=0.3)
    assert [server.metadata["nodepool_node_id"] for server in client.compute.servers()] == ["7"] * 3
    assert simulated.control.region("east")["servers"]["doubles"] == {"7": 3}


def _raw(wanted: dict[str, Any]) -> dict[str, Any]:
    names = {"image_id": "imageRef", "flavor_id": "flavorRef"}
    return {names.get(key, key): value for key, value in wanted.items()}


def test_a_region_that_is_down_does_not_touch_the_other(simulated: CloudProcess, client: Connection) -> None:
    simulated.control.add_faults(calls=[{"fault": "error-before", "status": 503}], regions=["east"])
    with pytest.raises(exceptions.HttpException) as caught:
        list(client.compute.servers())
    assert caught.value.status_code == 503
    with connect(simulated, region="west") as other:
        list(other.compute.servers())
    simulated.control.clear_faults(["east"])
    list(client.compute.servers())


def test_too_many_calls_are_told_to_wait(simulated: CloudProcess, client: Connection) -> None:
    list(client.compute.servers())
    simulated.control.change("east", rate_limits=[{"calls": ["compute.*"], "rate": 0.001}])
    list(client.compute.servers())
    with pytest.raises(exceptions.HttpException) as caught:
        list(client.compute.servers())
    simulated.control.change("east", rate_limits=[])
    assert caught.value.status_code == 429
    assert caught.value.response is not None
    assert int(caught.value.response.headers["Retry-After"]) > 100


def test_an_expired_token_is_renewed_without_notice(simulated: CloudProcess, client: Connection) -> None:
    list(client.compute.servers())
    simulated.control.revoke_tokens()
    list(client.compute.servers())
    refused = simulated.control.region("east")["calls"]["compute.server.list"]["statuses"]["401"]
    assert refused >= 1


def test_credentials_of_all_kinds(simulated: CloudProcess) -> None:
    with connect(simulated, "simulated-application") as client:
        list(client.compute.servers())
    with connect(simulated, "simulated-wrong") as client, pytest.raises(auth_exceptions.Unauthorized):
        list(client.compute.servers())


def test_a_changed_password_shows_at_the_next_login(tmp_path: Path) -> None:
    with CloudProcess(tmp_path) as process, connect(process, region="RegionOne") as client:
        list(client.compute.servers())
        process.control.change_identity(password="new")
        process.control.revoke_tokens()
        with pytest.raises(auth_exceptions.Unauthorized):
            list(client.compute.servers())


def test_the_control_api_says_what_is_wrong(simulated: CloudProcess) -> None:
    with pytest.raises(ControlError, match="unknown key 'bot'"):
        simulated.control.change("east", bot=3)
    with pytest.raises(ControlError, match="no region north; there are east, west"):
        simulated.control.resources("north")


def test_many_connections_at_once_are_served_each_after_its_latency(tmp_path: Path) -> None:
    settings = {"region": {"latency": {"compute.server.list": 0.3}, "quota": {"instances": -1}}}
    with CloudProcess(tmp_path, settings) as process, connect(process, region="RegionOne") as client:
        token = client.auth_token
        port = int(process.url.rpartition(":")[2])
        request = f"GET /RegionOne/compute/v2.1/servers/detail HTTP/1.1\r\nX-Auth-Token: {token}\r\n\r\n".encode()
        began = time.monotonic()
        connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
        for connection in connections:
            connection.sendall(request)
        for connection in connections:
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
            connection.close()
        assert 0.3 <= time.monotonic() - began < 5
        assert process.control.count("compute.server.list") == 300


def test_creates_from_many_threads_never_pass_the_quota(simulated: CloudProcess, client: Connection) -> None:
    wanted = order(client)
    simulated.control.change("east", quota={"instances": 20})

    def create(number: int) -> bool:
        try:
            client.compute.create_server(**{**wanted, "name": f"np{number}"})
        except exceptions.ForbiddenException:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(30))) == 20
    simulated.control.change("east", quota={"instances": 1000})
    found = simulated.control.region("east")["servers"]
    assert (found["peak"]["instances"], found["over_quota"]["instances"]) == (20, 0)


def test_a_killed_cloud_refuses_and_comes_back_on_its_port(tmp_path: Path) -> None:
    process = CloudProcess(tmp_path)
    process.start()
    url = process.url
    with connect(process, region="RegionOne") as client:
        list(client.compute.servers())
        process.kill()
        with pytest.raises(auth_exceptions.ConnectFailure):
            list(client.compute.servers())
        process.start()
        assert process.url == url
        list(client.compute.servers())
    process.stop()


def test_https_is_trusted_only_with_its_authority(tmp_path: Path) -> None:
    ours, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    certificate = ours.issue("cloud")
    settings = {"tls_certificate": str(certificate.certificate), "tls_key": str(certificate.key)}
    with CloudProcess(tmp_path / "cloud", settings) as process:
        assert process.url.startswith("https://")
        with connect(process, region="RegionOne", cacert=str(ours.certificate)) as client:
            assert list(client.compute.servers()) == []
        with (
            connect(process, region="RegionOne", cacert=str(other.certificate)) as client,
            pytest.raises(exceptions.SDKException, match="CERTIFICATE_VERIFY_FAILED"),
        ):
            client.authorize()
        assert process.control.region("RegionOne")["servers"]["created"] == 0


def test_bad_settings_and_a_taken_port_are_told(tmp_path: Path, simulated: CloudProcess) -> None:
    with pytest.raises(CloudFailed, match="region: unknown key 'bot'"):
        CloudProcess(tmp_path, {"region": {"bot": 1}}).start()
    port = int(simulated.url.rpartition(":")[2])
    with pytest.raises(CloudFailed, match=f"cannot serve on 127.0.0.1 port {port}"):
        CloudProcess(tmp_path, port=port).start()


def test_the_cloud_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from tools.cloud.process import CloudProcess\n"
        "cloud = CloudProcess(Path(sys.argv[1])); cloud.start(); print(cloud.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert _runs(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    eventually(lambda: not _runs(pid))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
