"""The command line and the environment of a build (spec builder 3.3, 3.4)."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import pytest

from nodepool.builder.dib.command import BadCommand, argument_vector, environment, temp_dir
from nodepool.builder.dib.order import BuildOrder
from nodepool.config.settings import DiskImage

BUILD = "0" * 32


def order(formats: tuple[str, ...] = ("raw", "qcow2"), **image: Any) -> BuildOrder:
    return BuildOrder("deb", BUILD, formats, DiskImage("deb", **image), "/images")


def test_the_command_line_is_that_of_nodepool_11() -> None:
    line = argument_vector(order(elements=("debian-minimal", "vm")), "/images/deb-0", "/package")
    assert line == shlex.split(
        "disk-image-create -x -t qcow2,raw --checksum --no-tmpfs --qemu-img-options 'compat=0.10' "
        "-o /images/deb-0 debian-minimal vm"
    )


def test_the_options_of_qcow2_are_for_qcow2() -> None:
    assert "--qemu-img-options" not in argument_vector(order(("raw", "vhd")), "/o", "/p")


def test_paths_with_blanks_stay_whole() -> None:
    line = argument_vector(order(dib_cmd="%p/make image"), "/my images/deb", "/the package")
    assert line[:2] == ["/the package/make", "image"]
    assert line[line.index("-o") + 1] == "/my images/deb"


def test_the_command_and_elements_may_have_arguments() -> None:
    line = argument_vector(order(dib_cmd="sudo -E 'dib create' -n", elements=("-p vim", "vm")), "/o", "/p")
    assert line[:4] == ["sudo", "-E", "dib create", "-n"]
    assert line[-3:] == ["-p", "vim", "vm"]


@pytest.mark.parametrize("command", ["'open", "", '""'[:1]])
def test_a_command_that_cannot_be_split_is_refused(command: str) -> None:
    with pytest.raises(BadCommand, match="dib-cmd"):
        argument_vector(order(dib_cmd=command), "/o", "/p")


def test_the_environment_is_that_of_nodepool_11() -> None:
    told = replace(order(release="bookworm"), elements_dir="/e1:/e2")
    assert environment(told, "/images/deb-0", {"PATH": "/bin", "DIB_RELEASE": "x"}) == {
        "PATH": "/bin",
        "DIB_RELEASE": "bookworm",
        "DIB_IMAGE_NAME": "deb",
        "DIB_IMAGE_FILENAME": "/images/deb-0",
        "ELEMENTS_PATH": "/e1:/e2",
    }


def test_variables_of_the_image_win() -> None:
    variables = environment(
        order(env_vars={"DIB_RELEASE": "mine", "A": "b"}), "/o", {"A": "a", "ELEMENTS_PATH": "/mine"}
    )
    assert (variables["DIB_RELEASE"], variables["A"]) == ("mine", "b")
    assert variables["ELEMENTS_PATH"] == "/mine", "without elements-dir the builder's own variable counts"


def test_each_build_works_in_a_directory_of_its_own() -> None:
    assert temp_dir(order(), {}) == f"/tmp/nodepool-dib-{BUILD}"
    assert temp_dir(order(), {"TMP_DIR": "/big"}) == f"/big/nodepool-dib-{BUILD}"
    assert temp_dir(order(env_vars={"TMP_DIR": "/own"}), {"TMP_DIR": "/big"}) == f"/own/nodepool-dib-{BUILD}"
