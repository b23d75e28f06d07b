"""What a plan is made from, and the plan while it is being made. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nodepool.builder.keep import Listing
from nodepool.builder.setup import ProviderSetup
from nodepool.builder.steps import Plan, Step
from nodepool.builder.view import BuildView, ImageView
from nodepool.config.settings import DiskImage
from nodepool.model.record import NOTHING
from nodepool.zk.mirror import UploadKey


@dataclass(frozen=True, slots=True)
class Rule:
    """What the configurations say of an image."""

    image: DiskImage | None = None
    """None: it is not in ours."""
    formats: tuple[str, ...] = ()
    """In which it is to be built."""
    incomplete: bool = False
    """Whether the format of a provider that lists it is not known yet."""
    providers: Mapping[str, ProviderSetup] = field(default_factory=lambda: NOTHING)
    """All of ours that manage images."""
    elsewhere: frozenset[str] | None = None
    """The providers for which other builders list the image; None: no other builder has it."""
    changed: float = 0.0
    """When our settings of the image changed last while we ran (epoch): what failed before that may be mended."""
    providers_changed: Mapping[str, float] = field(default_factory=lambda: NOTHING)
    """The same of providers."""
    strangers: bool = False
    """Whether builders are about that do not tell which images they have: those of Nodepool 11."""

    @property
    def wanted(self) -> bool:
        """Whether any builder that we know of has the image."""
        return self.image is not None or self.elsewhere is not None

    def listing(self, image: str) -> list[ProviderSetup]:
        """Our providers that list the image."""
        return [provider for provider in self.providers.values() if provider.image(image) is not None]

    def of_provider(self, image: str, provider: str) -> Listing:
        """What a provider has to do with the image."""
        ours = self.providers.get(provider)
        if ours is None:
            return Listing.FOREIGN
        if (self.image is not None and ours.image(image) is not None) or provider in (self.elsewhere or ()):
            return Listing.WANTED
        return Listing.OBSOLETE


@dataclass(frozen=True, slots=True)
class Here:
    """What this builder has of an image, and does about it."""

    builder_id: str = ""
    files: Mapping[str, tuple[str, ...]] | None = None
    """Formats by build id; None: not known yet."""
    building: frozenset[str] = frozenset()
    """Ids of builds that run here, or whose end is not stored yet."""
    uploading: frozenset[UploadKey] = frozenset()
    """The same of uploads."""
    spared: frozenset[str] = frozenset()
    """Builds without a record whose files are to be left alone."""


class Draft:
    """Collects steps, and the time when to look again."""

    def __init__(self, image: ImageView, rule: Rule, here: Here, now: float) -> None:
        self.image = image
        self.rule = rule
        self.here = here
        self.now = now
        self._steps: list[Step] = []
        self._wake: float | None = None

    def add(self, step: Step) -> None:
        """There is something to do."""
        self._steps.append(step)

    def look_at(self, at: float) -> None:
        """Plan anew at ``at`` (epoch) at the latest."""
        self._wake = at if self._wake is None else min(self._wake, at)

    def is_own(self, build: BuildView) -> bool:
        """Whether a build was made by this builder."""
        return build.record is not None and build.record.builder_id == self.here.builder_id

    def plan(self) -> Plan:
        """All of it."""
        return Plan(tuple(self._steps), self._wake)
