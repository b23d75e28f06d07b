"""What ``etc`` has for systemd, logrotate and containers, checked by the programs that use it."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from nodepool.config.load import load
from tests.launcher_process import LauncherProcess, fake_provider
from tests.zookeeper import Place

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sys.executable).parent
DAEMONS = ("launcher", "builder")
SYSTEMD = ROOT / "etc/systemd"
DOCKER = ROOT / "etc/docker"
MOST_EXPOSED = {"launcher": 2.0, "builder": 9.0}
"""What ``systemd-analyze security`` calls exposure, of 10; the builder mounts and uses sudo."""

NO_NEW_PRIVILEGES = {
    "DynamicUser",
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "NoNewPrivileges",
    "PrivateDevices",
    "ProtectClock",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "SystemCallArchitectures",
    "SystemCallFilter",
    "SystemCallLog",
}
"""Settings that take sudo and newuidmap from a service that is not root's (systemd.exec, NoNewPrivileges)."""


def run(*command: str | Path, directory: Path = ROOT) -> str:
    """Output of a command that must succeed."""
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with the programs of this installation, since those of the file's may not be there."""
    for daemon in DAEMONS:
        name = f"nodepool-{daemon}.service"
        text = (SYSTEMD / name).read_text()
        assert f"ExecStart=/opt/nodepool/bin/nodepool-{daemon} -f\n" in text
        (tmp_path / name).write_text(text.replace("ExecStart=/opt/nodepool/bin", f"ExecStart={PROGRAMS}"))
    return tmp_path


def verify(unit: Path) -> None:
    """Have systemd read a unit; it must have nothing to say."""
    assert run("systemd-analyze", "verify", "--man=no", unit, directory=unit.parent) == ""


@pytest.mark.parametrize("daemon", DAEMONS)
def test_systemd_takes_the_unit(units: Path, daemon: str) -> None:
    unit = units / f"nodepool-{daemon}.service"
    verify(unit)
    text = run("systemd-analyze", "security", "--offline=true", unit)
    found = re.search(r"exposure level for \S+: ([\d.]+)", text)
    assert found
    assert float(found[1]) <= MOST_EXPOSED[daemon]


def test_systemd_takes_the_drop_in_for_local_machines(units: Path) -> None:
    unit = units / "nodepool-launcher.service"
    drop_in = units / f"{unit.name}.d" / "local.conf"
    drop_in.parent.mkdir()
    shutil.copy(SYSTEMD / "nodepool-launcher-local.conf", drop_in)
    verify(unit)
    drop_in.write_text(drop_in.read_text() + "RestrictNamespace=no\n")
    with pytest.raises(AssertionError, match="RestrictNamespace"):
        verify(unit)


def test_the_drop_in_takes_back_what_would_end_or_hinder_machines() -> None:
    unit, drop_in = (_service(SYSTEMD / f"nodepool-launcher{end}") for end in (".service", "-local.conf"))
    assert (unit["KillMode"], drop_in["KillMode"]) == ("mixed", "process")
    assert NO_NEW_PRIVILEGES & unit.keys() >= {"NoNewPrivileges", "SystemCallFilter"}
    for key in NO_NEW_PRIVILEGES & unit.keys():
        assert drop_in[key] in ("", "no"), key


def test_the_builder_may_use_sudo() -> None:
    assert NO_NEW_PRIVILEGES & _service(SYSTEMD / "nodepool-builder.service").keys() == set()


def _service(path: Path) -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text())
    return parser["Service"]


def test_logrotate_rotates_and_the_launcher_goes_on_in_a_new_file(tmp_path: Path, zookeeper: Place) -> None:
    log = tmp_path / "nodepool.log"
    rules = (ROOT / "etc/logrotate.d/nodepool").read_text()
    account = f"{_name_of('u')} {_name_of('g')}"
    ours = rules.replace("/var/log/nodepool/", f"{tmp_path}/").replace("nodepool nodepool", account)
    (tmp_path / "rules").write_text(ours)
    configuration = {
        "version": 1,
        "handlers": {"file": {"class": "logging.handlers.WatchedFileHandler", "filename": str(log)}},
        "loggers": {"nodepool": {"handlers": ["file"], "level": "INFO"}},
    }
    (tmp_path / "logging.yaml").write_text(yaml.safe_dump(configuration))
    launcher = LauncherProcess(
        tmp_path / "launcher",
        zookeeper,
        providers=[fake_provider("fake-cloud", ["small"])],
        labels=["small"],
        program=(str(PROGRAMS / "nodepool-launcher"), "-l", str(tmp_path / "logging.yaml")),
    )
    with launcher:
        run("logrotate", "--force", "--state", tmp_path / "state", tmp_path / "rules")
        launcher.stop()
    assert "starts as process" in (tmp_path / "nodepool.log.1").read_text()
    assert "Ended" in log.read_text()


def _name_of(kind: str) -> str:
    return run("id", f"-{kind}n").strip()


@pytest.mark.parametrize("daemon", DAEMONS)
def test_hadolint_has_nothing_to_say(daemon: str) -> None:
    assert run(PROGRAMS / "hadolint", "--no-color", DOCKER / daemon / "Dockerfile") == ""


@pytest.mark.parametrize("daemon", DAEMONS)
def test_containers_run_as_the_documented_user_and_copy_what_is_there(daemon: str) -> None:
    text = (DOCKER / daemon / "Dockerfile").read_text().replace("\\\n", " ")
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    assert [arguments for name, arguments in steps if name == "USER"] == ["10001:10001"]
    assert f"exec nodepool-{daemon} -f ${{DEBUG:+-d}}" in dict(steps)["CMD"]
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for name, arguments in steps:
        if name == "COPY" and not arguments.startswith("--from"):
            sources = set(arguments.split()[:-1])
            assert {source for source in sources if not (ROOT / source).exists()} == sources - sent == set()


def test_the_compose_file_names_what_is_there() -> None:
    compose: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    services = compose["services"]
    assert services.keys() == {"zookeeper", *DAEMONS}
    for daemon in DAEMONS:
        build = services[daemon]["build"]
        assert (DOCKER / build["context"]).resolve() == ROOT
        assert (DOCKER / build["context"] / build["dockerfile"]).is_file()
        assert services[daemon]["depends_on"].keys() <= services.keys()
    for service in services.values():
        for source in (volume.partition(":")[0] for volume in service["volumes"]):
            known = source in compose["volumes"] or source == "/dev"
            assert known or (DOCKER / source).is_file(), source
    assert not services["launcher"].get("privileged")


def test_the_configuration_of_the_compose_file_has_no_problem() -> None:
    configuration = load(str(DOCKER / "nodepool.yaml"), None)
    assert configuration.zookeeper.servers == (("zookeeper", 2181),)
