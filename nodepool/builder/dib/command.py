"""The command line and the environment of ``disk-image-create`` (spec builder 3.3, 3.4). Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from nodepool.builder.dib.order import BuildOrder

DEFAULT_TEMP_DIR = "/tmp"
"""Where diskimage-builder works unless ``TMP_DIR`` says otherwise."""
MARK = "DIB_IMAGE_FILENAME"
"""Variable whose value tells the processes of a build: the path of its output, which has the build's id."""


class BadCommand(Exception):
    """``dib-cmd`` or an element cannot be split into words."""


def argument_vector(order: BuildOrder, output: str, package_dir: str) -> list[str]:
    """The words of the command; no shell ever reads them.

    :param output: path of the image without its format
    :param package_dir: what ``%p`` in ``dib-cmd`` stands for
    :raises BadCommand: quotes do not match
    """
    command = _words("dib-cmd", order.disk_image.dib_cmd.replace("%p", shlex.quote(package_dir)))
    if not command:
        raise BadCommand("dib-cmd is empty")
    formats = ",".join(sorted(order.formats))
    options = ["-x", "-t", formats, "--checksum", "--no-tmpfs"]
    if "qcow2" in formats:
        options += ["--qemu-img-options", "compat=0.10"]
    elements = [word for element in order.disk_image.elements for word in _words("elements", element)]
    return [*command, *options, "-o", output, *elements]


def environment(order: BuildOrder, output: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables of the command but ``TMP_DIR``; ``env-vars`` of the image win. Holds secrets: not to be logged."""
    variables = {
        **inherited,
        "DIB_RELEASE": order.disk_image.release,
        "DIB_IMAGE_NAME": order.image,
        MARK: output,
    }
    if order.elements_dir:
        variables["ELEMENTS_PATH"] = order.elements_dir
    return {**variables, **order.disk_image.env_vars}


def temp_dir(order: BuildOrder, inherited: Mapping[str, str]) -> str:
    """The directory for the work of this one build, below what ``TMP_DIR`` of the operator says."""
    base = {**inherited, **order.disk_image.env_vars}.get("TMP_DIR") or DEFAULT_TEMP_DIR
    return f"{base}/nodepool-dib-{order.build_id}"


def _words(key: str, value: str) -> list[str]:
    try:
        return shlex.split(value)
    except ValueError as error:
        raise BadCommand(f"{key}: {error} in {value!r}") from error
