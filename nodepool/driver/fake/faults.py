"""How often, and in which ways, the fake cloud fails. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class FaultRates:
    """Probabilities from 0 to 1, each for one call or one server. 0 everywhere: a cloud that works."""

    create_refused: float = 0.0
    """Nothing is made: :class:`~nodepool.driver.errors.CloudError`."""
    create_quota: float = 0.0
    """Nothing is made: QuotaExceeded, although there is room."""
    create_no_capacity: float = 0.0
    """Nothing is made: NoCapacity."""
    create_rate_limited: float = 0.0
    """Nothing is made: RateLimited."""
    create_unknown_undone: float = 0.0
    """Nothing is made: UnknownOutcome."""
    create_unknown_done: float = 0.0
    """A server is made: UnknownOutcome all the same."""
    create_late: float = 0.0
    """A server is made, with UnknownOutcome, and shows in lists only after ``late_appearance``."""
    boot_error: float = 0.0
    """The server goes to ERROR instead of ACTIVE, for want of capacity, of quota, or for no good reason."""
    boot_stuck: float = 0.0
    """The server stays BUILDING."""
    delete_refused: float = 0.0
    """The server stays: CloudError."""
    delete_lost: float = 0.0
    """The call succeeds and nothing happens."""
    delete_unknown: float = 0.0
    """The server goes: UnknownOutcome all the same."""
    delete_stuck: float = 0.0
    """The server stays DELETING until it is deleted once more."""
    list_fails: float = 0.0
    """No list: CloudError."""
    list_unknown: float = 0.0
    """No list: UnknownOutcome, as after a time-out."""
    upload_refused: float = 0.0
    """No image is made: CloudError."""
    upload_unknown_undone: float = 0.0
    """No image is made: UnknownOutcome."""
    upload_unknown_done: float = 0.0
    """The image is there: UnknownOutcome all the same."""
    image_delete_refused: float = 0.0
    """The image stays: CloudError."""
    image_delete_unknown: float = 0.0
    """The image goes: UnknownOutcome all the same."""
    late_appearance: float = 30.0
    """Seconds; not a probability."""

    def __post_init__(self) -> None:
        for name in FAULT_NAMES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1")

    @classmethod
    def from_config(cls, values: Mapping[str, float]) -> FaultRates:
        """From the names of nodepool.yaml, which have dashes."""
        return cls(**{name.replace("-", "_"): float(rate) for name, rate in values.items()})


FAULT_NAMES = tuple(field.name for field in fields(FaultRates) if field.name != "late_appearance")
NO_FAULTS = FaultRates()
