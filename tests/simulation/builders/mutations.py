"""Switches a safety of the builder off, to see whether the simulation finds out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from types import ModuleType
from typing import Any

from nodepool.builder import cleaning
from nodepool.builder.keep import Kept
from tests.simulation.builders.clouds import ImageCloud
from tests.simulation.builders.world import Tampering


class Mutation(Enum):
    """What is switched off."""

    NONE = "none"
    TAGS = "tags"
    """The look for images of uploads whose end nobody knows."""
    KEEPING = "keeping"
    """What is kept, whatever comes."""


@contextmanager
def applied(mutation: Mutation) -> Iterator[Tampering]:
    """The tampering that a mutation needs; modules are changed while it lasts."""
    if mutation is Mutation.TAGS:
        yield Tampering(cloud=_hide_tags)
    elif mutation is Mutation.KEEPING:
        with _replaced(cleaning, "keep", lambda *_: Kept(frozenset(), frozenset())):
            yield Tampering()
    else:
        yield Tampering()


def _hide_tags(cloud: ImageCloud) -> ImageCloud:
    cloud.find = lambda *_: []  # type: ignore[method-assign]
    return cloud


@contextmanager
def _replaced(module: ModuleType, name: str, replacement: Callable[..., Any]) -> Iterator[None]:
    original = getattr(module, name)
    setattr(module, name, replacement)
    try:
        yield
    finally:
        setattr(module, name, original)
