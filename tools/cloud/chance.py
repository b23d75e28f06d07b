"""Chance from a seed: what is drawn depends on what it is for, not on when it is drawn. Pure.

Two runs with one seed treat the same server in the same way although their requests arrive in another order.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass
from statistics import NormalDist

from tools.cloud.reading import BadSettings

_P99_DEVIATIONS = NormalDist().inv_cdf(0.99)


@dataclass(frozen=True, slots=True)
class Spread:
    """How long something takes, in seconds.

    In settings: a number (always so long), ``[low, high]`` (uniform), or ``{median: 5, p99: 60}`` (log-normal).
    """

    low: float
    high: float
    p99: float | None = None

    @classmethod
    def parse(cls, value: object, where: str) -> Spread:
        """Read it from settings. Raises BadSettings."""
        match value:
            case Spread():
                return value
            case bool():
                pass
            case int() | float() if value >= 0:
                return cls(value, value)
            case [(int() | float()) as low, (int() | float()) as high] if 0 <= low <= high:
                return cls(low, high)
            case {"median": (int() | float()) as median, "p99": (int() | float()) as p99} if 0 < median <= p99:
                return cls(median, median, p99)
        raise BadSettings(f"{where}: expected seconds, [low, high] or {{median: , p99: }}, not {value!r}")

    @property
    def fixed(self) -> bool:
        """Whether it is always the same."""
        return self.p99 is None and self.low == self.high

    def at(self, fraction: float) -> float:
        """The value that a ``fraction`` (0 to 1) of all values is below."""
        if self.p99 is None:
            return self.low + (self.high - self.low) * fraction
        deviation = math.log(self.p99 / self.low) / _P99_DEVIATIONS
        return self.low * math.exp(deviation * NormalDist().inv_cdf(min(max(fraction, 1e-9), 1 - 1e-9)))


class Chance:
    """Draws by key. The n-th draw with the same key is the same in every run with the same seed."""

    def __init__(self, seed: int) -> None:
        self._seed = str(seed)
        self._draws: Counter[str] = Counter()

    def fraction(self, *key: str) -> float:
        """A number from 0 up to 1."""
        return int.from_bytes(self._digest(key)[:7], "big") / (1 << 56)

    def identifier(self, *key: str) -> str:
        """A UUID."""
        digits = self._digest(key).hex()
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"

    def seconds(self, spread: Spread, *key: str) -> float:
        """A duration from ``spread``."""
        return spread.low if spread.fixed else spread.at(self.fraction(*key))

    def _digest(self, key: tuple[str, ...]) -> bytes:
        text = "\0".join((self._seed, *key))
        number = self._draws[text]
        self._draws[text] = number + 1
        return hashlib.blake2b(f"{text}\0{number}".encode(), digest_size=16).digest()
