"""Secrets are planted wherever an installation has some; none may come out in a log, a table, an error or ``ps``.

A launcher and a builder with all logging on, a simulated OpenStack cloud, and the command line.
"""

from __future__ import annotations

import base64
import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.builder_process import IMAGE, PROGRAM, BuilderProcess
from tests.command_line import Commands
from tests.image_records import ImageRecords
from tests.launcher_process import PROGRAM as LAUNCHER
from tests.launcher_process import LauncherProcess, zookeeper_client
from tests.requestor import Zuul, zuul
from tests.zookeeper import eventually, new_place
from tools.cloud.process import CloudProcess
from tools.zookeeper import LocalZooKeeper

pytestmark = pytest.mark.slow

PASSWORD = "planted-password-of-the-cloud"
OTHER_PASSWORD = "planted-password-that-is-refused"
USERDATA = "planted-in-userdata"
MIRROR_TOKEN = "planted-in-env-vars"
SECURE_TOKEN = "planted-in-the-secure-file"
MISPLACED = "planted-under-an-unknown-key"
CLUSTER_TOKEN = "planted-in-a-node-record"
WEB_TOKEN = "planted-token-of-the-web-server"
SECRETS = (PASSWORD, OTHER_PASSWORD, USERDATA, MIRROR_TOKEN, SECURE_TOKEN, MISPLACED, CLUSTER_TOKEN, WEB_TOKEN)
PAGES = (
    "node-list",
    "request-list",
    "image-list",
    "dib-image-list",
    "image-status",
    "label-list",
    "metrics",
    "nothing",
)
WEB_ADDRESS = re.compile(r"The web server is at (http://\S+)")
AWAY = "Provider west does not answer"
COMMANDS = (
    "list --detail",
    "list --json",
    "request-list",
    "image-list",
    "dib-image-list --json",
    "image-status --detail",
    "info west",
)


class Site:
    """A launcher and a builder that are not started, and all that came out of the installation so far."""

    def __init__(self, directory: Path, server: LocalZooKeeper, cloud: CloudProcess) -> None:
        self.cloud = cloud
        self.place = new_place(server.hosts)
        self.directory = directory
        self.secure = directory / "secure.yaml"
        self.clouds_yaml = directory / "clouds.yaml"
        self.shown: list[str] = []
        """Tables, errors and command lines."""
        self.clouds_yaml.write_text(cloud.clouds_yaml.read_text())
        assert PASSWORD in self.clouds_yaml.read_text()
        variables = {"SECRET": SECURE_TOKEN, "STUB_DIB_HOLD": str(directory / "builder/hold")}
        self.secure.write_text(yaml.safe_dump({"diskimages": [{"name": IMAGE, "env-vars": variables}]}))
        provider = _provider()
        token = directory / "web-token"
        token.write_text(WEB_TOKEN)
        token.chmod(0o600)
        environment = {"OS_CLIENT_CONFIG_FILE": str(self.clouds_yaml)}
        self.launcher = LauncherProcess(
            directory / "launcher",
            self.place,
            providers=[provider],
            labels=[IMAGE],
            diskimages=[{"name": IMAGE}],
            webapp={"port": 0, "listen_address": "127.0.0.1", "token-file": str(token)},
            program=(str(LAUNCHER), "-s", str(self.secure)),
            environment=environment,
            debug=True,
        )
        self.builder = BuilderProcess(
            directory / "builder",
            self.place,
            providers=[provider],
            program=(*PROGRAM, "-d", "-s", str(self.secure)),
            environment=environment,
        )
        self.builder.document["diskimages"][0]["env-vars"]["MIRROR_TOKEN"] = MIRROR_TOKEN
        self.builder.configure()
        self.commands = Commands(directory, self.place)
        self.commands.document |= {"providers": [provider], "labels": [{"name": IMAGE}]}
        self.commands.document |= {"diskimages": self.builder.document["diskimages"], "images-dir": str(directory)}
        self.commands.write()

    def show_processes(self) -> None:
        """What ``ps`` shows of the daemons and of their children."""
        for pid in (self.launcher.pid, self.builder.pid):
            self.shown += [
                (Path("/proc") / one / "cmdline").read_text().replace("\0", " ") for one in _family(str(pid))
            ]

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run a command; returns all that it shows."""
        done = self.commands.run("-s", str(self.secure), *arguments, status=status)
        self.shown += [done.stdout, done.stderr]
        return done.stdout + done.stderr

    def fetch(self, page: str, token: str, kind: str) -> int:
        """Ask the launcher's web server for a page; returns the status."""
        found = WEB_ADDRESS.search(self.launcher.log)
        assert found
        headers = {"Authorization": f"Bearer {token}", "Accept": kind}
        request = urllib.request.Request(f"{found[1].rstrip('/')}/{page}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                self.shown += [str(answer.headers), answer.read().decode()]
                return int(answer.status)
        except urllib.error.HTTPError as refusal:
            self.shown += [str(refusal.headers), refusal.read().decode()]
            return refusal.code

    def outputs(self) -> dict[str, str]:
        """All that came out, by where."""
        logs = {path.name: path.read_text(errors="replace") for path in (self.directory / "builder/logs").iterdir()}
        return {"launcher": self.launcher.log, "builder": self.builder.log, "shown": "\n".join(self.shown), **logs}


def _provider() -> dict[str, Any]:
    label = {"name": IMAGE, "diskimage": IMAGE, "min-ram": 512, "userdata": USERDATA, "host-key-checking": False}
    return {
        "name": "west",
        "cloud": "simulated",
        "rate": 0,
        "launch-retries": 1,
        "diskimages": [{"name": IMAGE}],
        "pools": [{"name": "main", "labels": [{**label, "networks": ["private"]}]}],
    }


def _family(pid: str) -> Iterator[str]:
    """A process and all below it."""
    yield pid
    for task in (Path("/proc") / pid / "task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _family(child)


@pytest.fixture(scope="module")
def outputs(server: LocalZooKeeper, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What came out of an installation that did all it does, and what goes wrong with it."""
    directory = tmp_path_factory.mktemp("site")
    region = {"boot": 0.05, "delete": 0.05, "networks": [{"name": "private", "cidr": "10.20.0.0/16"}]}
    with (
        CloudProcess(directory / "cloud", {"password": PASSWORD, "region": region}) as cloud,
        pytest.MonkeyPatch.context() as patch,
    ):
        site = Site(directory, server, cloud)
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(site.clouds_yaml))
        with site.launcher, zuul(site.place) as scheduler, zookeeper_client(site.place) as client:
            site.builder.hold.touch()
            with site.builder:
                _build(site, ImageRecords(client))
                _launch(site, scheduler)
                _get_it_wrong(site)
                _lose_the_cloud(site, scheduler)
                site.launcher.stop()
                site.builder.stop()
            yield site.outputs()


def _build(site: Site, records: ImageRecords) -> None:
    eventually(lambda: any("disk-image-create" in one for one in _shown_now(site)))
    site.builder.hold.unlink()
    eventually(lambda: [upload.state for upload in records.uploads()] == ["ready"], 30.0)


def _shown_now(site: Site) -> list[str]:
    site.shown.clear()
    site.show_processes()
    return site.shown


def _launch(site: Site, scheduler: Zuul) -> None:
    (node,) = scheduler.obtain(IMAGE)
    scheduler.use(node)
    scheduler.client.create(
        "/nodepool/nodes/0000009999",
        b'{"state": "ready", "provider": "other", "type": ["pod"], "connection_port": {"token": "%s"}}'
        % CLUSTER_TOKEN.encode(),
    )
    for command in COMMANDS:
        site.run(*command.split())
    for kind in ("text/plain", "application/json"):
        assert [site.fetch(page, WEB_TOKEN, kind) for page in PAGES] == [*[200] * (len(PAGES) - 1), 404]
        assert {site.fetch(page, f"{WEB_TOKEN}x", kind) for page in PAGES} == {401}
    for process in (site.launcher, site.builder):
        os.kill(process.pid, signal.SIGUSR2)
        process.wait_log("End debug handler")
    scheduler.give_back(node)
    scheduler.wait_node_gone(node)


def _get_it_wrong(site: Site) -> None:
    wrong = [{"name": IMAGE, "env-vars": {"A": [MIRROR_TOKEN]}}, {"name": "x", "env-vars": {"A": MIRROR_TOKEN, "B": 1}}]
    site.commands.write(diskimages=wrong)
    assert "env-vars" in site.run("config-validate", status=1)
    good = site.secure.read_text()
    site.secure.write_text(yaml.safe_dump({"passwort": MISPLACED, "diskimages": [{"name": IMAGE, "env-vars": 7}]}))
    eventually(lambda: "not taken over" in site.launcher.log and "not taken over" in site.builder.log)
    site.commands.write()
    site.run("config-validate", status=1)
    site.secure.write_text(f"diskimages: [{{name: {IMAGE}, env-vars: {{A: '{SECURE_TOKEN}'\n")
    site.run("config-validate", status=1)
    site.secure.write_text(good)
    site.run("config-validate")


def _lose_the_cloud(site: Site, scheduler: Zuul) -> None:
    before = site.clouds_yaml.read_text()
    site.clouds_yaml.write_text(before.replace(PASSWORD, OTHER_PASSWORD))
    site.cloud.control.change_identity(password="known to nobody")
    site.cloud.control.revoke_tokens()
    scheduler.submit(IMAGE)
    site.launcher.wait_log(AWAY)
    site.run("alien-image-list", status=1)


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("form", [str, lambda text: base64.b64encode(text.encode()).decode()], ids=["plain", "base64"])
def test_no_secret_comes_out(outputs: dict[str, str], secret: str, form: Callable[[str], str]) -> None:
    for where, text in outputs.items():
        assert form(secret) not in text, f"{where}: {secret}"


def test_the_search_would_find_what_is_there(outputs: dict[str, str]) -> None:
    assert AWAY in outputs["launcher"]
    assert "Beginning debug handler" in outputs["launcher"]
    assert "disk-image-create" in outputs["shown"]
    assert "0000009999" in outputs["shown"]
    assert any(name.endswith(".log") for name in outputs)
