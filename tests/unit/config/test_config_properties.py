"""Whatever stands in the files, validation answers with problems and nothing else."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodepool.config.document import parse
from nodepool.config.load import load, validate
from nodepool.config.problem import ConfigurationError, Severity
from nodepool.config.schema import DISKIMAGE, LABEL, MAIN, TENANT_LIMIT, ZOOKEEPER_SERVER
from nodepool.config.text import substitute
from tests.unit.config.toy_driver import get_driver

YAML_PIECES = st.sampled_from(
    [
        *("a", "b", ": ", ":", "- ", "-", "\n", "\n  ", "\n    ", "[", "]", "{", "}", ", ", "&x ", "*x", "<<: ", "!t "),
        *("'", '"', "|", ">", "#", "?", "? ", "%", "%(NODEPOOL_A)", "%(NODEPOOL_B)", "~", "1", "1.5", ".inf", "true"),
        *("!!int ", "off", "2024-13-01", "12:61", "0b_", "=", "---", "...", "\t", "\x00", "\u2028", "é", "\ud7ff"),
        *("labels", "providers", "name", "driver: toy", "pools", "diskimages", "parent", "env-vars", "host", "chroot"),
        *("zookeeper-servers", "zookeeper-tls"),
    ]
)
TEXTS = st.lists(YAML_PIECES, max_size=40).map("".join) | st.text(max_size=60)

KEYS = sorted(
    {
        str(key)
        for schema in (MAIN, LABEL, DISKIMAGE, TENANT_LIMIT, ZOOKEEPER_SERVER)
        for key in schema
        if str(key)[0] != "<"
    }
    | {"pools", "driver", "cert", "key", "ca", "port", "listen_address", "labels", "max-servers", "cloud"}
)
SCALARS: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, 1, -1, 10**30, 1.5, "", "toy", "a", "b", "/a", "fake", "x y", "a/b", "::1", [], {}]
) | st.dates()  # fmt: skip
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.sampled_from([1, None, True]), inner, max_size=5)
    ),
    max_leaves=25,
)
ENTRY = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("name", "parent", "driver", "env-vars", "pools"), SCALARS | TREES)
)
FILES = st.dictionaries(st.sampled_from(sorted(MAIN)), TREES | st.lists(ENTRY, max_size=3), max_size=6)


def problems_of(main: str, secure: str | None = None) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path, secure_path = Path(directory) / "nodepool.yaml", Path(directory) / "secure.conf"
        path.write_text(main, encoding="utf-8")
        secure_path.write_text(secure or "", encoding="utf-8")
        arguments: dict[str, Any] = {"environ": {"NODEPOOL_A": "x: [1\n"}, "get_driver": get_driver}
        found = validate(path, None if secure is None else secure_path, **arguments)
        for problem in found:
            assert problem.file in (str(path), str(secure_path))
            assert "\n" not in str(problem)
            assert problem.line is None or 1 <= problem.line <= (main + "\n" + (secure or "")).count("\n") + 2
        try:
            load(path, None if secure is None else secure_path, **arguments)
        except ConfigurationError:
            assert any(problem.severity is Severity.ERROR for problem in found)


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_any_text(text: str) -> None:
    problems_of(text)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FILES)
def test_any_tree_below_the_known_keys(tree: dict[str, Any]) -> None:
    problems_of(yaml.safe_dump(tree, allow_unicode=True))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FILES)
def test_any_secure_file(tree: dict[str, Any]) -> None:
    problems_of("labels: []\n", yaml.safe_dump(tree, allow_unicode=True))


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_what_can_be_parsed_is_what_pyyaml_says(text: str) -> None:
    try:
        document = parse(substitute("f", text, {}))
    except ConfigurationError:
        return
    # repr, because a value may be nan
    assert repr(document.data) == repr(yaml.safe_load(text))
