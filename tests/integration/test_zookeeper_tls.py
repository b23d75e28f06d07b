"""TLS to a real ZooKeeper: that it works, and that whatever is wrong is said clearly."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nodepool.zk.client import ZooKeeperError, connect
from nodepool.zk.session import KazooStore
from nodepool.zk.store import Committed, Create, Outcome, ReadOutcome, Uncertain
from nodepool.zk.tls import TLSFiles
from tests.zookeeper import cut, eventually, local_zookeeper, new_place, running
from tools.certificates import Authority, Certificate
from tools.zookeeper import LocalZooKeeper, ServerTLS

PATIENCE = 1.5


@dataclass(frozen=True, slots=True)
class Site:
    """A ZooKeeper with TLS and the certificates around it."""

    server: LocalZooKeeper
    authority: Path
    client: Certificate
    stranger: Certificate
    strange_authority: Path

    def files(self) -> TLSFiles:
        """What a rightful client has."""
        return TLSFiles(str(self.client.certificate), str(self.client.key), str(self.authority))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("tls")
    authority = Authority(directory / "ours")
    stranger = Authority(directory / "theirs", "somebody else")
    tls = ServerTLS(authority.issue("server").store, authority.certificate)
    with local_zookeeper(directory / "server", tls=tls) as server:
        yield Site(
            server, authority.certificate, authority.issue("client"), stranger.issue("client"), stranger.certificate
        )


def trouble(hosts: str, tls: TLSFiles | None) -> str:
    """What ``connect`` says when it gives up."""
    with pytest.raises(ZooKeeperError, match="no connection to ZooKeeper") as failure:
        connect(hosts, tls=tls, patience=PATIENCE)
    return str(failure.value)


def test_mutual_tls_works_and_survives_an_interruption(site: Site) -> None:
    place = new_place(site.server.tls_hosts)
    store = KazooStore(place.hosts, place.chroot, site.files())
    with running(store):
        session = store.session()
        results: list[object] = []
        store.commit([Create("/a", bytes(900_000))], results.append)
        eventually(lambda: results)
        cut(store)
        eventually(lambda: not store.wait_connected(0))
        eventually(lambda: store.wait_connected(0))
        assert store.session() == session


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_many_long_calls_at_once_are_done_in_order(site: Site, tls: bool) -> None:
    """Packets of all lengths, many in one read of the socket, and some in several."""
    place = new_place(site.server.tls_hosts if tls else site.server.hosts)
    store = KazooStore(place.hosts, place.chroot, site.files() if tls else None, call_deadline=60.0)
    written = {f"/{number:04}": b"x" * (number * 977 % 70_001) for number in range(300)}
    outcomes: list[tuple[str, Outcome]] = []
    found: list[ReadOutcome] = []
    with running(store):
        for path, data in written.items():
            store.commit([Create(path, data)], lambda outcome, path=path: outcomes.append((path, outcome)))  # type: ignore[misc]
        store.read(list(written), found.append)
        eventually(lambda: found, 60)
    assert [path for path, _ in outcomes] == list(written)
    assert all(isinstance(outcome, Committed) for _, outcome in outcomes)
    assert not isinstance(found[0], Uncertain)
    assert {path: datum.data if datum else None for path, datum in found[0].items()} == written


def test_an_unknown_server_certificate_is_named(site: Site) -> None:
    files = TLSFiles(str(site.client.certificate), str(site.client.key), str(site.strange_authority))
    message = trouble(site.server.tls_hosts, files)
    assert f"{site.server.tls_hosts}: TLS: the server's certificate is not trusted" in message
    assert "check ca" in message


def test_a_certificate_that_the_server_does_not_know_is_named(site: Site) -> None:
    files = TLSFiles(str(site.stranger.certificate), str(site.stranger.key), str(site.authority))
    message = trouble(site.server.tls_hosts, files)
    assert "TLS: the server" in message
    assert "certificate" in message


def test_no_tls_on_a_tls_port(site: Site) -> None:
    message = trouble(site.server.tls_hosts, None)
    assert "the server closed the connection (is this a TLS port?" in message


def test_tls_on_a_plain_port(site: Site) -> None:
    message = trouble(site.server.hosts, site.files())
    assert "is this its TLS port?" in message


@pytest.mark.parametrize("field", ["cert", "key", "ca"])
def test_a_missing_file_is_named_before_anything_is_tried(site: Site, field: str) -> None:
    files = {name: getattr(site.files(), name) for name in ("cert", "key", "ca")}
    files[field] = "/nonexistent/file.pem"
    with pytest.raises(ValueError, match=r"zookeeper-tls: cannot read /nonexistent/file\.pem: No such file"):
        connect("127.0.0.1:1", tls=TLSFiles(**files))


def test_files_that_vanish_later_are_named(site: Site, tmp_path: Path) -> None:
    copy = tmp_path / "client.pem"
    copy.write_bytes(site.client.certificate.read_bytes())
    store = KazooStore(site.server.tls_hosts, "", TLSFiles(str(copy), str(site.client.key), str(site.authority)))
    with running(store):
        copy.unlink()
        cut(store)
        eventually(lambda: f"cannot read {copy}: No such file" in store.trouble())
        copy.write_bytes(site.client.certificate.read_bytes())
        assert store.wait_connected(20)


def test_files_that_do_not_belong_together_are_named(site: Site) -> None:
    files = TLSFiles(str(site.client.certificate), str(site.stranger.key), str(site.authority))
    with pytest.raises(ValueError, match="are not a PEM certificate and its key"):
        connect("127.0.0.1:1", tls=files)


def test_an_authority_without_certificate_is_named(site: Site) -> None:
    files = TLSFiles(str(site.client.certificate), str(site.client.key), str(site.client.key))
    with pytest.raises(ValueError, match=r"client\.key \(ca\) holds no PEM certificate"):
        connect("127.0.0.1:1", tls=files)


def test_a_key_with_a_password_is_refused_and_not_asked_for(site: Site, tmp_path: Path) -> None:
    key = tmp_path / "secret.key"
    command = ["openssl", "pkcs8", "-topk8", "-in", str(site.client.key), "-out", str(key), "-passout", "pass:x"]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(ValueError, match="without a password"):
        connect("127.0.0.1:1", tls=TLSFiles(str(site.client.certificate), str(key), str(site.authority)))
