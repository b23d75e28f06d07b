"""What all parts of one region share. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tools.cloud.chance import Chance
from tools.cloud.settings import RegionSettings
from tools.cloud.timeline import Timeline


@dataclass(slots=True)
class Place:
    """A region's name, settings (replaced as a whole when they change), clock and chance."""

    region: str
    project_id: str
    settings: RegionSettings
    timeline: Timeline
    chance: Chance

    @property
    def now(self) -> float:
        """Epoch seconds."""
        return self.timeline.now

    def identifier(self, *key: str) -> str:
        """A UUID for a new resource."""
        return self.chance.identifier(self.region, *key)
