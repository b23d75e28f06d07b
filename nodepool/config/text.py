"""The text of a configuration file: bytes, environment substitution, and which line a character came from.

Rules of substitution: spec config 2. A value may contain line ends; lines are counted in the file on disk all the same.
"""

from __future__ import annotations

import bisect
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from nodepool.config.problem import ConfigurationError, ConfigurationMissing, Problem

_VARIABLE = re.compile(r"%\((NODEPOOL_[^()\n]*)\)")


@dataclass(frozen=True, slots=True)
class SourceText:
    """A file's text after substitution."""

    file: str
    text: str
    _starts: tuple[int, ...]
    """For each line on disk, where it begins in ``text``."""

    def line(self, position: int) -> int:
        """The line on disk (from 1) of the character at ``position`` of ``text``."""
        return max(1, bisect.bisect_right(self._starts, position))

    def line_text(self, line: int) -> str:
        """A line on disk (from 1), after substitution; empty when there is no such line."""
        if not 1 <= line <= len(self._starts):
            return ""
        end = self._starts[line] if line < len(self._starts) else len(self.text)
        return self.text[self._starts[line - 1] : end]


def read_text(file: str, environ: Mapping[str, str]) -> SourceText:
    """Read a file and put in the environment.

    :raises ConfigurationMissing: it does not exist.
    :raises ConfigurationError: it cannot be read, or is not UTF-8 text.
    """
    try:
        with open(file, "rb") as stream:
            raw = stream.read()
    except FileNotFoundError:
        raise ConfigurationMissing([Problem(file, None, "", "the file does not exist")]) from None
    except OSError as error:
        raise ConfigurationError([Problem(file, None, "", _why_unreadable(error))]) from error
    except ValueError:
        raise ConfigurationError([Problem(file, None, "", "the file name contains a NUL character")]) from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"not UTF-8 text: the byte 0x{raw[error.start]:02x} cannot be read (save the file as UTF-8)"
        raise ConfigurationError([Problem(file, line, "", message)]) from None
    return substitute(file, text, environ)


def substitute(file: str, text: str, environ: Mapping[str, str]) -> SourceText:
    """Replace each ``%(NODEPOOL_X)`` by the variable's value; one that is not set stays as it is."""

    def value(match: re.Match[str]) -> str:
        return environ.get(match[1], match[0])

    starts: list[int] = []
    parts: list[str] = []
    position = 0
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        starts.append(position)
        replaced = _VARIABLE.sub(value, line)
        parts.append(replaced)
        position += len(replaced)
    return SourceText(file, "".join(parts), tuple(starts))


def unset_variables(text: str) -> tuple[str, ...]:
    """The names of the variables that a text (after substitution) still asks for."""
    return tuple(dict.fromkeys(_VARIABLE.findall(text)))


def _why_unreadable(error: OSError) -> str:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"the file cannot be read by user id {os.geteuid()}: {reason}"
