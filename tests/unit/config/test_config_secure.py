"""The secure file (spec config 3): what it adds, and that nothing of it is ever shown."""

from __future__ import annotations

import pytest

from nodepool.config.load import load
from nodepool.config.problem import ConfigurationMissing
from nodepool.config.settings import TLSSettings
from tests.unit.config.reading import Files, lines

MAIN = """
zookeeper-servers: [{host: main, chroot: /main}]
zookeeper-tls: {cert: main.crt, key: main.key, ca: main.ca}
diskimages:
  - {name: base, abstract: true, env-vars: {A: base, B: base}}
  - {name: img, parent: base, env-vars: {B: img}}
  - {name: heir, parent: img}
"""


def test_servers_are_replaced_as_a_whole(files: Files) -> None:
    files.write(MAIN, "zookeeper-servers: [{host: one}, {host: two, port: 2181}]\n")
    zookeeper = files.load().zookeeper
    assert zookeeper.connect_string == "one:2281,two:2181"
    assert zookeeper.tls == TLSSettings("main.crt", "main.key", "main.ca")


def test_tls_is_replaced_as_a_whole(files: Files) -> None:
    files.write(MAIN, "zookeeper-tls: {cert: c, key: k, ca: a}\n")
    zookeeper = files.load().zookeeper
    assert zookeeper.connect_string == "main:2281/main"
    assert zookeeper.tls == TLSSettings("c", "k", "a")


def test_tls_that_leaves_a_key_out_unsets_it(files: Files) -> None:
    files.write(MAIN, "zookeeper-tls:\n  cert: c\n")
    assert lines(files.validate()) == [
        "secure.conf:1: zookeeper-tls: TLS needs cert, key and ca (paths of PEM files); missing here: key, ca"
    ]


def test_incomplete_tls_of_the_main_file_does_not_matter_when_replaced(files: Files) -> None:
    files.write("zookeeper-servers: [{host: a}]\nzookeeper-tls: {ca: a}\n", "zookeeper-tls: {cert: c, key: k, ca: a}\n")
    assert lines(files.validate()) == []


def test_variables_win_over_the_main_file_and_are_not_inherited(files: Files) -> None:
    files.write(MAIN, "diskimages: [{name: img, env-vars: {A: secret, C: secret}}]\n")
    images = files.load().diskimages
    assert dict(images["img"].env_vars) == {"A": "secret", "B": "img", "C": "secret"}
    assert dict(images["heir"].env_vars) == {"A": "base", "B": "img"}


def test_variables_do_not_appear_in_a_printed_configuration(files: Files) -> None:
    files.write(MAIN, "diskimages: [{name: img, env-vars: {A: sesame}}]\n")
    assert "sesame" not in repr(files.load())


@pytest.mark.parametrize(
    "secure",
    ["", "# nothing\n", "zookeeper-servers:\nzookeeper-tls: {}\ndiskimages: []\n", "zookeeper-servers: []\n"],
)
def test_an_empty_file_or_section_changes_nothing(files: Files, secure: str) -> None:
    files.write(MAIN)
    alone = files.load()
    files.write(MAIN, secure)
    assert files.load() == alone
    assert lines(files.validate()) == []


def test_other_keys_are_ignored_without_naming_them(files: Files) -> None:
    files.write(MAIN, "sesame: open\nlabels: [{name: sesame}]\n")
    assert lines(files.validate()) == [
        "warning: secure.conf:1: there are keys here that have no effect "
        "(only zookeeper-servers, zookeeper-tls, diskimages are used)"
    ]


def test_the_environment_is_put_in(files: Files) -> None:
    files.write(MAIN, "diskimages: [{name: img, env-vars: {A: '%(NODEPOOL_SECRET)'}}]\n")
    assert files.load({"NODEPOOL_SECRET": "sesame"}).diskimages["img"].env_vars["A"] == "sesame"


PROBLEMS = [
    (
        "diskimages:\n- {name: imgg, env-vars: {A: sesame}}\n- {name: base, env-vars: {A: sesame}}\n",
        [
            "secure.conf:2: diskimages[0].name: there is no diskimage 'imgg' in nodepool.yaml (did you mean 'img'?)",
            "secure.conf:3: diskimages[1].name: 'base' is an abstract diskimage: give the env-vars to the images that "
            "have it as parent",
        ],
    ),
    (
        "diskimages:\n- {name: img}\n- {name: img, env-vars: sesame}\n- {env-vars: {}}\n- sesame\n",
        [
            "secure.conf:2: diskimages[0].env-vars: this key is required and missing",
            "secure.conf:3: diskimages[1].env-vars: expected a mapping (KEY: VALUE)",
            "secure.conf:4: diskimages[2].name: this key is required and missing",
            "secure.conf:5: diskimages[3]: expected a mapping (KEY: VALUE)",
        ],
    ),
    (
        "diskimages:\n- name: img\n  env-vars:\n    SESAME: x\n    PIN: 123456\n    PIN: 123456\n    7: sesame\n",
        [
            "secure.conf:6: diskimages[0].env-vars: this key stands here a second time (first in line 5); only the "
            "last one counts: remove one",
            "secure.conf:6: diskimages[0].env-vars: expected text (put numbers, true and false in quotes)",
            "secure.conf:7: diskimages[0].env-vars: expected a key that is text (put it in quotes)",
        ],
    ),
    (
        "zookeeper-servers:\n- {host: 'sesame:1'}\n- {host: sesame, port: 123456, chroot: /sesame}\n"
        "- {host: a, chroot: //sesame//x}\n- {host: b, chroot: /other}\nzookeeper-tls: sesame\n",
        [
            "secure.conf:2: zookeeper-servers[0].host: expected a host name or address "
            "(a port goes under its own key, port)",
            "secure.conf:3: zookeeper-servers[1].port: expected a port number from 1 to 65535",
            "secure.conf:4: zookeeper-servers[2].chroot: expected a path such as /nodepool-ci",
            "secure.conf:5: zookeeper-servers[3].chroot: all servers are one ensemble with one chroot, but this is "
            "not the one of line 3 (make them equal, or give it once)",
            "secure.conf:6: zookeeper-tls: expected a mapping (KEY: VALUE)",
        ],
    ),
    (
        "- sesame\n",
        [
            "secure.conf:1: the file must be a mapping in YAML with some of the keys zookeeper-servers, "
            "zookeeper-tls, diskimages"
        ],
    ),
    ("password: *sesame\n", ["secure.conf:1: not valid YAML (nothing of this file is shown here)"]),
    ("a: !sesame x\n", ["secure.conf:1: not valid YAML (nothing of this file is shown here)"]),
]


@pytest.mark.parametrize(("secure", "expected"), PROBLEMS)
def test_problems_are_located_and_show_nothing_secret(files: Files, secure: str, expected: list[str]) -> None:
    files.write(MAIN, secure)
    found = lines(files.validate())
    assert sorted(found) == sorted(expected)
    assert not any(secret in line for line in found for secret in ("sesame", "SESAME", "123456", "other"))


def test_a_variable_from_the_environment_is_not_shown_either(files: Files) -> None:
    files.write(MAIN, "zookeeper-servers: [{host: '%(NODEPOOL_HOST)'}]\ndiskimages: %(NODEPOOL_HOST)\n")
    found = lines(files.validate({"NODEPOOL_HOST": "open:sesame"}))
    assert len(found) == 2
    assert not any("sesame" in line for line in found)


def test_both_files_are_reported_at_once(files: Files) -> None:
    files.write("labels: x\n", "diskimages: x\n")
    assert [line.partition(":")[0] for line in lines(files.validate())] == ["nodepool.yaml", "secure.conf"]
    files.write("labels: x\n", "{")
    assert [line.partition(":")[0] for line in lines(files.validate())] == ["nodepool.yaml", "secure.conf"]
    files.write("{", "{")
    assert [line.partition(":")[0] for line in lines(files.validate())] == ["nodepool.yaml", "secure.conf"]


def test_a_missing_secure_file_is_told_apart(files: Files) -> None:
    files.write("labels: x\n")
    with pytest.raises(ConfigurationMissing) as caught:
        load(files.main, files.secure, environ={})
    assert len(caught.value.problems) == 2
