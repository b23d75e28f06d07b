"""The builders that are registered: what each has in its configuration, and who goes first. Pure.

What is said of images and providers in a builder's component is an addition of ours (spec zookeeper 4.6): with it, no
builder removes what another one's configuration wants, and builders share their work instead of racing for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nodepool.builder.setup import Setup
from nodepool.model import rendezvous
from nodepool.model.component import BUILDER, Component
from nodepool.model.record import NOTHING

BUILDER_ID, IMAGES, PROVIDERS = "builder_id", "images", "providers"
"""Additional keys of a builder's component."""


@dataclass(frozen=True, slots=True)
class OtherBuilder:
    """Another builder that is registered."""

    builder_id: str
    images: Mapping[str, frozenset[str]] = field(default_factory=lambda: NOTHING)
    """Names of the providers that list it, by image."""
    providers: frozenset[str] = frozenset()
    """Those that manage images."""


@dataclass(frozen=True, slots=True)
class Others:
    """All other builders."""

    known: tuple[OtherBuilder, ...] = ()
    strangers: bool = False
    """Whether there are some that do not say what they have: those of Nodepool 11."""

    def listing(self, image: str) -> frozenset[str] | None:
        """The providers for which some other builder lists an image; None: none of them has it."""
        found = [other.images[image] for other in self.known if image in other.images]
        return frozenset().union(*found) if found else None

    def goes_first(self, ours: str, subject: str, image: str | None = None, provider: str | None = None) -> bool:
        """Whether ``subject`` is for the builder ``ours``, among those that have an image, or a provider."""
        able = (
            other.builder_id
            for other in self.known
            if (image is None or image in other.images) and (provider is None or provider in other.providers)
        )
        return rendezvous.first(subject, [ours, *able]) == ours


def read(components: Iterable[Component]) -> Others:
    """The builders that registered these components."""
    known, strangers = [], False
    for component in components:
        builder_id, images = component.extra.get(BUILDER_ID), component.extra.get(IMAGES)
        if isinstance(builder_id, str) and isinstance(images, Mapping):
            listed = {str(image): _names(providers) for image, providers in images.items()}
            known.append(OtherBuilder(builder_id, listed, _names(component.extra.get(PROVIDERS))))
        else:
            strangers = True
    return Others(tuple(known), strangers)


def own_component(builder_id: str, setup: Setup) -> Component:
    """What we tell of ourselves."""
    extra: dict[str, Any] = {
        BUILDER_ID: builder_id,
        IMAGES: {image: sorted(provider.name for provider in setup.listing(image)) for image in setup.images},
        PROVIDERS: sorted(setup.providers),
    }
    return Component(kind=BUILDER, state="running", extra=extra)


def _names(value: object) -> frozenset[str]:
    return frozenset(map(str, value)) if isinstance(value, list | tuple) else frozenset()
