"""Completion of ``nodepool``'s command line in shells: commands, options, and the names that the configuration has.

The shell runs the program at each Tab, with ``_ARGCOMPLETE`` in its environment; then it must write nothing but what
argcomplete does.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

import argcomplete
from argcomplete.shell_integration import shellcode

from nodepool.config.load import load
from nodepool.config.problem import ConfigurationError
from nodepool.config.settings import Config

SHELLS = ("bash", "zsh", "fish")

_NAMES: Mapping[str, Callable[[Config], Collection[str]]] = {
    "label": lambda config: config.labels,
    "provider": lambda config: config.providers,
    "image": lambda config: config.diskimages,
}
"""Arguments whose values are names of the configuration, by their name in the options."""


def script(shell: str) -> str:
    """What a shell has to run once so that it completes our command line."""
    return shellcode(["nodepool"], shell=shell)


def answer(parser: argparse.ArgumentParser, hidden: Collection[str]) -> None:
    """Answer the shell and end the process, if this is a question of a shell; ``hidden`` commands are not offered."""
    if "_ARGCOMPLETE" not in os.environ:
        return
    _name_completers(parser)
    argcomplete.autocomplete(parser, always_complete_options=False, exclude=list(hidden))


def _name_completers(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _name_completers(command)
        elif action.dest in _NAMES:
            action.completer = _names(_NAMES[action.dest])  # type: ignore[attr-defined]  # argcomplete looks for it.


def _names(names: Callable[[Config], Collection[str]]) -> Callable[..., Collection[str]]:
    def completer(parsed_args: argparse.Namespace, **_: Any) -> Collection[str]:
        try:
            return sorted(names(load(os.path.expanduser(parsed_args.c), parsed_args.s)))
        except (ConfigurationError, OSError):
            return ()

    return completer
