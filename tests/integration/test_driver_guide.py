"""The driver in the manual's chapter on writing one is installed as it says, and a launcher makes nodes with it."""

from __future__ import annotations

import re
import textwrap
import tomllib
from pathlib import Path

import yaml

from tests.launcher_process import LauncherProcess
from tests.requestor import zuul
from tests.zookeeper import Place

CHAPTER = Path(__file__).resolve().parents[2] / "doc/writing-a-driver.rst"
LONGEST = 60
"""Lines of code that the chapter promises not to exceed."""


def block(language: str) -> str:
    """The only block of a language in the chapter."""
    pattern = rf"^\.\. code-block:: {language}\n   :caption: .*\n\n((?:   .*\n|\n)+)"
    (found,) = re.findall(pattern, CHAPTER.read_text(encoding="utf-8"), re.MULTILINE)
    return textwrap.dedent(found).strip() + "\n"


def test_the_driver_is_as_short_as_promised() -> None:
    assert len([line for line in block("python").splitlines() if line.strip()]) <= LONGEST


def test_a_launcher_serves_a_request_with_the_driver_of_the_manual(tmp_path: Path, zookeeper: Place) -> None:
    project = tomllib.loads(block("toml"))["project"]
    ((name, target),) = project["entry-points"]["nodepool.drivers"].items()
    package, folder = tmp_path / "package", tmp_path / "machines"
    metadata = package / f"folder_driver-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    folder.mkdir()
    (package / f"{target.partition(':')[0]}.py").write_text(block("python"), encoding="utf-8")
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[nodepool.drivers]\n{name} = {target}\n")
    (provider,) = yaml.safe_load(block("yaml"))["providers"]
    launcher = LauncherProcess(
        tmp_path / "launcher",
        zookeeper,
        providers=[provider | {"folder": str(folder)}],
        labels=["small"],
        environment={"PYTHONPATH": str(package)},
        debug=True,
    )
    with launcher, zuul(zookeeper) as scheduler:
        (node_id,) = scheduler.obtain("small")
        assert [path.name for path in folder.iterdir()] == [f"cupboard,main,{node_id}"]
        record = scheduler.node(node_id)
        assert record is not None
        assert (record["interface_ip"], record["username"]) == ("192.0.2.7", "ci")
        scheduler.use(node_id)
        scheduler.give_back(node_id)
        scheduler.wait_node_gone(node_id)
    assert list(folder.iterdir()) == []
    assert "Traceback" not in launcher.log
