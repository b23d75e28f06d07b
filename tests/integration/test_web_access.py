"""Who may ask the web server and how; when it says that the daemon is not ready; the builder's (spec operation 8)."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nodepool.config.settings import WebappSettings, WebTLSSettings
from nodepool.web.endpoint import open_endpoint
from tests.builder_process import BuilderProcess, image_provider
from tests.launcher_process import LauncherProcess, fake_provider
from tests.launcher_program import refusal, servers, write
from tests.web_client import Web, address_of
from tests.zookeeper import Place, Proxy, eventually
from tools.certificates import Authority
from tools.zookeeper import free_port

LOCAL = {"port": 0, "listen_address": "127.0.0.1"}
TOKEN = "a-token-that-nobody-guesses"
SESSION = 4.0
"""Seconds; the least that the server grants."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


def launcher_on(place: Place, directory: Path, *, hosts: str | None = None, **webapp: object) -> LauncherProcess:
    return LauncherProcess(
        directory / "launcher",
        place,
        providers=[fake_provider("fake-cloud", ["small"])],
        labels=["small"],
        hosts=hosts,
        webapp={**LOCAL, **webapp},
        zookeeper_timeout=SESSION,
    )


# ZooKeeper


def test_ready_is_what_can_work(zookeeper: Place, tmp_path: Path) -> None:
    with Proxy(int(zookeeper.hosts.rpartition(":")[2])) as proxy:
        proxy.refuse()
        launcher = launcher_on(zookeeper, tmp_path, hosts=proxy.hosts)
        try:
            launcher.start(wait=False)
            web = Web(address_of(launcher))
            answer = web.get("/ready")
            assert (answer.status, answer.text) == (503, "there is no connection to ZooKeeper\n")
            answer = web.get("/node-list")
            assert (answer.status, answer.text) == (503, "what ZooKeeper holds has not been read yet\n")
            assert web.get("/live").status == 200
            proxy.resume()
            eventually(web.is_ready)
            eventually(lambda: web.json("/label-list") == [{"label": "small"}], pause=0.1)
            proxy.refuse()
            eventually(lambda: web.get("/ready").status == 503)
            assert web.json("/label-list") == [{"label": "small"}]
            assert web.get("/live").status == 200
            proxy.resume()
            eventually(web.is_ready)
        finally:
            launcher.kill()


# TLS and the token


@pytest.fixture
def guarded(zookeeper: Place, tmp_path: Path, authority: Authority, token_file: Path) -> Iterator[Web]:
    """A web server with TLS and a token."""
    ours = authority.issue("localhost")
    tls = {"cert": str(ours.certificate), "key": str(ours.key)}
    with launcher_on(zookeeper, tmp_path, tls=tls, **{"token-file": str(token_file)}) as launcher:
        yield Web(address_of(launcher), ssl.create_default_context(cafile=authority.certificate))
        assert TOKEN not in launcher.log
        assert "Traceback" not in launcher.log


def test_only_who_knows_the_token_is_told(guarded: Web) -> None:
    assert guarded.address.startswith("https://127.0.0.1:")
    right = f"Bearer {TOKEN}"
    for path in ("/", "/node-list", "/label-list", "/metrics", "/page.js"):
        for wrong in ({}, {"Authorization": f"{right}x"}, {"Authorization": "Basic eDp5"}):
            answer = guarded.get(path, **wrong)
            assert (answer.status, answer.text) == (401, "give the token of webapp.token-file\n")
            assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="Nodepool", Basic')
        assert guarded.get(path, Authorization=right).status == 200
    for path in ("/no-such-list", "/events"):
        assert guarded.get(path).status == 401
    assert guarded.get("/no-such-list", Authorization=right).status == 404
    assert guarded.get("/label-list", Authorization=right).headers["Cache-Control"] == "max-age=1, private"


def test_whether_it_is_ready_is_told_to_everybody(guarded: Web) -> None:
    eventually(guarded.is_ready)
    assert guarded.get("/live").status == 200


def test_tls_is_not_to_be_got_round(guarded: Web) -> None:
    plain = replace(guarded, address=guarded.address.replace("https", "http"))
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        plain.get("/ready")
    with pytest.raises(ssl.SSLCertVerificationError):
        replace(guarded, trust=ssl.create_default_context()).get("/ready")
    assert guarded.get("/live").status == 200


# What it refuses to start with


def refusal_of(settings: WebappSettings) -> str:
    """What is wrong with them."""
    with pytest.raises(ValueError, match="webapp") as refused:
        open_endpoint(settings, 0, "webapp.port")
    return str(refused.value)


def test_a_port_that_is_taken(zookeeper: Place, tmp_path: Path) -> None:
    with launcher_on(zookeeper, tmp_path) as launcher:
        _, port = Web(address_of(launcher)).place
        config = write(tmp_path / "other.yaml", zookeeper_servers=servers(free_port()), webapp={**LOCAL, "port": port})
        assert refusal("-f", "-c", config) == [
            f"webapp.port: cannot listen on 127.0.0.1 port {port}: Address already in use "
            "(end what uses it, choose another port, or start with --no-webapp)"
        ]


def test_an_address_of_somebody_else() -> None:
    assert refusal_of(WebappSettings(listen_address="192.0.2.1")).startswith(
        "webapp.port: cannot listen on 192.0.2.1 port 0: Cannot assign requested address ("
    )
    assert refusal_of(WebappSettings(listen_address="no.such.host.invalid")).startswith(
        "webapp.listen_address: no.such.host.invalid is no address of this machine: "
    )


def test_a_certificate_that_cannot_be_used(authority: Authority) -> None:
    ours, other = authority.issue("ours"), authority.issue("other")
    assert refusal_of(WebappSettings(tls=WebTLSSettings("/nowhere/a", "/nowhere/b"))) == (
        "webapp.tls: /nowhere/a or /nowhere/b cannot be read: No such file or directory"
    )
    assert refusal_of(WebappSettings(tls=WebTLSSettings(str(ours.certificate), str(other.key)))) == (
        f"webapp.tls: {ours.certificate} and {other.key} are no certificate with its key: KEY_VALUES_MISMATCH"
    )


def test_a_token_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("short-secret")
    message = refusal_of(WebappSettings(token_file=str(path)))
    assert message.startswith(f"webapp.token-file: the token in {path} is shorter than 16 characters (")


# The builder


def test_a_builder_tells_of_its_images(zookeeper: Place, tmp_path: Path) -> None:
    webapp = {"port": 1, "listen_address": "127.0.0.1", "builder-port": 0}
    provider = image_provider("fake-west", tmp_path / "cloud")
    with BuilderProcess(tmp_path / "builder", zookeeper, providers=[provider], webapp=webapp) as builder:
        web = Web(address_of(builder))
        eventually(web.is_ready)
        eventually(lambda: [upload["state"] for upload in web.json("/image-list")] == ["ready"], pause=0.1)
        (build,), (image,) = web.json("/dib-image-list"), web.json("/image-status")
        assert (build["state"], image["image"], image["paused"]) == ("ready", "jammy", False)
        assert "# TYPE nodepool" in web.get("/metrics").text
        answer = web.get("/node-list")
        assert (answer.status, answer.text) == (
            404,
            "there is no such page; the builder has "
            "/, /image-list, /dib-image-list, /image-status, /metrics, /ready, /live\n",
        )
        assert builder.stop() == 0


def test_a_builder_without_a_port_has_no_web_server(zookeeper: Place, tmp_path: Path) -> None:
    with BuilderProcess(tmp_path / "builder", zookeeper, providers=[], images=(), webapp=LOCAL) as builder:
        builder.wait_log("Connected to ZooKeeper")
        assert "The web server" not in builder.log
