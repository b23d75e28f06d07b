"""Rules for the values of a provider's configuration, shared by the schemas of drivers.

Each rule returns the value it accepts and raises :class:`voluptuous.Invalid` with ``expected WHAT``; who reports it
adds the place and the value that was found. Drivers read the values from the file's own mapping, so no rule converts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import voluptuous as v

Rule = Callable[[Any], Any]

_SECONDS = "a number of seconds"


def text(value: Any) -> str:
    """Text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise v.Invalid("expected text")
    return value


def pool_name(value: Any) -> str:
    """A name that becomes a part of paths in ZooKeeper and of metrics."""
    name = text(value)
    if "/" in name or not name.isprintable() or name != name.strip():
        raise v.Invalid("expected a name without '/', control characters and blanks around it")
    return name


def optional_text(value: Any) -> str | None:
    """Text, or nothing at all, which counts as if the key were absent."""
    if value is not None and not isinstance(value, str):
        raise v.Invalid("expected text")
    return value


def name_or_id(value: Any) -> Any:
    """A name or an id; YAML reads some of them as numbers."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise v.Invalid("expected text")
    return value


def flag(value: Any) -> bool:
    """``true`` or ``false``."""
    if not isinstance(value, bool):
        raise v.Invalid("expected true or false")
    return value


def mapping(value: Any) -> dict[Any, Any]:
    """A mapping whose keys are the operator's or somebody else's."""
    if not isinstance(value, dict):
        raise v.Invalid("expected a mapping (KEY: VALUE)")
    return value


def whole(what: str = "a whole number", minimum: int | None = None) -> Rule:
    """A whole number, not below ``minimum``; ``what`` is how to call it."""
    limit = "" if minimum is None else f", {minimum} or more"

    def rule(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int) or (minimum is not None and value < minimum):
            raise v.Invalid(f"expected {what}{limit}")
        return value

    return rule


def number(what: str, minimum: float = 0.0, maximum: float = math.inf) -> Rule:
    """A finite number from ``minimum`` to ``maximum``, whole or not; ``what`` is how to call it."""
    span = f"{minimum:g} or more" if maximum == math.inf else f"from {minimum:g} to {maximum:g}"

    def rule(value: Any) -> Any:
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not good or not minimum <= value <= maximum:
            raise v.Invalid(f"expected {what}, {span}")
        return value

    return rule


def port(value: Any) -> Any:
    """A TCP port."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        raise v.Invalid("expected a port number from 1 to 65535")
    return value


def texts(value: Any) -> Any:
    """A list of texts, or a single text; see :func:`as_list`."""
    good = isinstance(value, str) or (
        isinstance(value, list) and all(isinstance(item, str) and item.strip() for item in value)
    )
    if not good:
        raise v.Invalid("expected text or a list of texts")
    return value


def as_list(value: Any) -> list[Any]:
    """What a key with a list or a single value means: nothing is empty, a single value a list of one."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


amount = whole()
"""A limit; 0 and less mean what the key says."""
count = whole(minimum=0)
seconds = number(_SECONDS)
connection_port = v.Any(port, None, msg="expected a port number from 1 to 65535")


def commands(value: Any) -> Any:
    """One command or a list of them, at least one; see :func:`as_list`."""
    for index, command in enumerate(as_list(value)):
        if not isinstance(command, str) or not command.strip():
            raise v.Invalid("expected text", path=[index] if isinstance(value, list) else [])
    if not as_list(value):
        raise v.Invalid("expected a command or a list of commands")
    return value


def key_file(value: Any) -> Any:
    """The path of a file that does not hang on the working directory."""
    if not isinstance(value, str) or not value.startswith(("/", "~/")):
        raise v.Invalid("expected a path that begins with / or ~/")
    return value


def _commands_or_off(value: Any) -> Any:
    if value is False:
        return value
    if not isinstance(value, str | list):
        raise v.Invalid("expected a command in quotes, a list of commands, a mapping with 'commands', or false")
    return commands(value)


def _off(value: Any) -> bool:
    if value is not False:
        raise v.Invalid("expected a mapping with 'count' and 'seconds', or false")
    return value


ready_check = v.Any(
    _commands_or_off,
    {v.Required("commands"): commands, "key-file": key_file, "username": text, "timeout": number(_SECONDS, minimum=1)},
)
"""What must work on a new machine; :func:`nodepool.driver.launch_settings.ready_check` reads it."""
keep_failed = v.Any(_off, {v.Required("count"): whole(minimum=1), v.Required("seconds"): number(_SECONDS, minimum=1)})
"""Which failed machines are kept; :func:`nodepool.driver.launch_settings.keep_failed` reads it."""


def image_name_format(value: Any) -> str:
    """The format of the names of uploaded images (spec builder 4.2)."""
    name = text(value)
    try:
        name.format(image_name="image", upload_id="0000000001", timestamp="0")
    except (LookupError, ValueError, AttributeError) as error:
        raise v.Invalid("expected a format with {image_name}, {upload_id} and {timestamp} only") from error
    return name


MACHINES_OF_IMAGES: dict[Any, Any] = {
    "boot-timeout": seconds,
    "launch-timeout": seconds,
    "launch-retries": count,
    "image-upload-timeout": seconds,
    "image-name-format": image_name_format,
    "post-upload-hook": text,
    "post-upload-hook-timeout": seconds,
}
"""Keys of providers that make machines of images; :mod:`nodepool.driver.launch_settings` reads them."""
