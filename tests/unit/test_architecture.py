"""The rules of the house (``doc/architecture.rst``), checked on the source itself."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("model", "telemetry", "zk", "driver", "config", "daemon", "launcher", "builder", "admin", "web", "cmd")
"""In import order: a room imports only from itself and from rooms before it."""
STRANGERS = frozenset({"launcher", "builder", "admin"})
"""Rooms that never import each other."""

PURE = (
    "model/node.py",
    "zk/contenders.py",
    "zk/paths.py",
    "zk/mirror.py",
    "driver/static/plan.py",
    "launcher/admit.py",
    "launcher/lifecycle.py",
    "launcher/minready.py",
    "launcher/sweep.py",
)
"""Modules that decide and do nothing; so is everything in ``model`` and each module whose docstring says so."""
SAYS_PURE = re.compile(r"^Pure\b|[.:] Pure\b|: pure\b", re.MULTILINE)

CLIENT_LIBRARIES = {"asyncssh", "kazoo", "keystoneauth1", "openstack", "requests"}
IMPURE_IMPORTS = CLIENT_LIBRARIES | {
    "asyncio",
    "concurrent",
    "logging",
    "multiprocessing",
    "os",
    "queue",
    "random",
    "secrets",
    "select",
    "selectors",
    "signal",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "urllib",
    "uuid",
}
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}
MOST_LINES_OF_A_FILE = 450
MOST_LINES_OF_A_FUNCTION = 60

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """A parsed source file."""

    path: Path
    tree: ast.Module

    @property
    def name(self) -> str:
        """Its dotted name."""
        return ".".join(self.path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")

    @property
    def room(self) -> str | None:
        """The room it stands in; None for the few modules directly in the package."""
        parts = self.path.relative_to(ROOT / "nodepool").parts
        return parts[0] if len(parts) > 1 else None

    def imports(self) -> Iterator[tuple[int, str]]:
        """Line and full dotted name of everything imported, at whatever depth of the file."""
        package = self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
                prefix = ".".join([*base, *([node.module] if node.module else [])])
                yield from ((node.lineno, f"{prefix}.{alias.name}") for alias in node.names)

    def at(self, line: int) -> str:
        """``file:line`` for a message."""
        return f"{self.path.relative_to(ROOT)}:{line}"


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the package."""
    paths = sorted((ROOT / "nodepool").rglob("*.py"))
    return tuple(Module(path, ast.parse(path.read_text(encoding="utf-8"))) for path in paths)


def _functions(module: Module) -> Iterator[Function]:
    return (node for node in ast.walk(module.tree) if isinstance(node, Function))


def _room_of(imported: str) -> str | None:
    parts = imported.split(".")
    return parts[1] if parts[0] == "nodepool" and len(parts) > 1 and parts[1] in ROOMS else None


def test_every_folder_is_a_room() -> None:
    assert {module.room for module in modules()} - {None} <= set(ROOMS)


def test_rooms_import_only_from_rooms_before_them() -> None:
    wrong = []
    for module in modules():
        for line, imported in module.imports():
            room, target = module.room, _room_of(imported)
            if room is None or target is None or room == target:
                continue
            if ROOMS.index(target) > ROOMS.index(room) or {room, target} <= STRANGERS:
                wrong.append(f"{module.at(line)}: {room} must not import {imported}")
    assert wrong == []


def test_only_the_zk_room_knows_kazoo() -> None:
    wrong = [
        f"{module.at(line)}: {imported}"
        for module in modules()
        if module.room != "zk"
        for line, imported in module.imports()
        if imported.split(".")[0] == "kazoo"
    ]
    assert wrong == []


def _pure_modules() -> list[Module]:
    return [
        module
        for module in modules()
        if module.room == "model"
        or str(module.path.relative_to(ROOT / "nodepool")) in PURE
        or SAYS_PURE.search(ast.get_docstring(module.tree) or "")
    ]


def _effects(module: Module) -> list[str]:
    """Where a module imports time, chance or effects."""
    imports = [(line, imported) for line, imported in module.imports() if imported.split(".")[0] in IMPURE_IMPORTS]
    return [f"{module.at(line)}: {imported}" for line, imported in imports]


def test_the_deciding_modules_exist() -> None:
    assert [path for path in PURE if not (ROOT / "nodepool" / path).exists()] == []


def test_pure_modules_import_no_time_chance_or_effects() -> None:
    assert [effect for module in _pure_modules() for effect in _effects(module)] == []


def test_pure_modules_import_no_module_that_has_effects() -> None:
    by_name = {module.name: module for module in modules()}
    wrong = []
    for module in _pure_modules():
        for line, imported in module.imports():
            target = by_name.get(imported) or by_name.get(imported.rpartition(".")[0])
            if target and _effects(target):
                wrong.append(f"{module.at(line)}: {target.name}")
    assert wrong == []


def test_nothing_sleeps() -> None:
    wrong = []
    for module in modules():
        wrong += [module.at(line) for line, imported in module.imports() if imported == "time.sleep"]
        wrong += [
            module.at(node.lineno)
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep"
        ]
    assert wrong == []


def test_files_are_short() -> None:
    lengths = {module.path.relative_to(ROOT): len(module.path.read_text().splitlines()) for module in modules()}
    assert {path: length for path, length in lengths.items() if length > MOST_LINES_OF_A_FILE} == {}


def test_functions_are_short() -> None:
    wrong = {
        f"{module.at(function.lineno)} {function.name}": length
        for module in modules()
        for function in _functions(module)
        if (length := (function.end_lineno or function.lineno) - function.lineno + 1) > MOST_LINES_OF_A_FUNCTION
    }
    assert wrong == {}


def test_names_say_what_a_module_is_for() -> None:
    assert [module.name for module in modules() if VAGUE_NAMES & set(module.name.split("."))] == []


def test_everything_public_has_a_docstring() -> None:
    wrong = [module.at(1) for module in modules() if not ast.get_docstring(module.tree)]
    for module in modules():
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
                wrong += [module.at(line) for line in _undocumented(node)]
    assert wrong == []


def _undocumented(node: ast.ClassDef | Function) -> Iterator[int]:
    """Lines of ``node`` and of its public methods that lack a docstring."""
    if not ast.get_docstring(node):
        yield node.lineno
    if isinstance(node, ast.ClassDef):
        for member in node.body:
            if isinstance(member, ast.ClassDef | Function) and not member.name.startswith("_"):
                yield from _undocumented(member)


def test_programs_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["scripts"]) == {"nodepool", "nodepool-launcher", "nodepool-builder"}
    for target in project["scripts"].values():
        module, _, function = target.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_nothing_is_left_for_later() -> None:
    marks = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)) + r")\b")
    folders = ("nodepool", "tests", "tools", "doc", "etc")
    texts = [path for folder in folders for path in (ROOT / folder).rglob("*") if _is_text(path)]
    assert [str(path.relative_to(ROOT)) for path in texts if marks.search(path.read_text(encoding="utf-8"))] == []


def _is_text(path: Path) -> bool:
    return path.suffix in {".py", ".sh", ".rst", ".md", ".yaml", ".toml", ".ini", ".service"} and path.is_file()
