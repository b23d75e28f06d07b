"""Quantities of named resources, and limits on them (spec launcher 2.6).

All quota arithmetic is done with :class:`Resources`. The names are ``instances``, ``cores``, ``ram`` (MiB),
``volumes``, ``volume-gb`` and whatever else a driver or a tenant limit names.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

Amount = int | float


class Resources:
    """An immutable vector of amounts by name. A name that is absent counts as 0.

    As a *limit* the same vector says how much there may be, and an absent name is not limited: see
    :meth:`fits_in`.
    """

    __slots__ = ("_amounts",)

    def __init__(self, amounts: Mapping[str, Amount] | None = None, /, **named: Amount) -> None:
        merged = {**(amounts or {}), **named}
        self._amounts: dict[str, Amount] = {name: amount for name, amount in merged.items() if amount != 0}

    @classmethod
    def limit(cls, amounts: Mapping[str, Amount | None]) -> Resources:
        """A limit: None, infinity and negative amounts mean "not limited"; 0 is a limit."""
        vector = cls()
        vector._amounts = {
            name: amount
            for name, amount in amounts.items()
            if amount is not None and amount >= 0 and not math.isinf(amount)
        }
        return vector

    @classmethod
    def from_json(cls, value: Any) -> Resources | None:
        """Read the ``resources`` of a node record; anything that is no mapping of numbers gives None."""
        if not isinstance(value, Mapping):
            return None
        return cls({str(name): amount for name, amount in value.items() if _is_number(amount)})

    @classmethod
    def total(cls, vectors: Iterable[Resources]) -> Resources:
        """Sum of many vectors."""
        amounts: dict[str, Amount] = {}
        for vector in vectors:
            for name, amount in vector._amounts.items():
                amounts[name] = amounts.get(name, 0) + amount
        return cls(amounts)

    def __getitem__(self, name: str) -> Amount:
        return self._amounts.get(name, 0)

    def __contains__(self, name: str) -> bool:
        return name in self._amounts

    def __bool__(self) -> bool:
        return bool(self._amounts)

    def names(self) -> tuple[str, ...]:
        """Names that this vector speaks of, sorted."""
        return tuple(sorted(self._amounts))

    def __add__(self, other: Resources) -> Resources:
        return Resources.total((self, other))

    def __sub__(self, other: Resources) -> Resources:
        """Difference; amounts may become negative."""
        amounts = dict(self._amounts)
        for name, amount in other._amounts.items():
            amounts[name] = amounts.get(name, 0) - amount
        return Resources(amounts)

    def __mul__(self, count: int) -> Resources:
        return Resources({name: amount * count for name, amount in self._amounts.items()})

    def fits_in(self, limit: Resources) -> bool:
        """Whether no amount exceeds that of ``limit``; names that the limit does not mention are free."""
        return all(self[name] <= allowed for name, allowed in limit._amounts.items())

    def shortage(self, limit: Resources) -> tuple[str, ...]:
        """Names by which this vector exceeds ``limit``, sorted."""
        return tuple(sorted(name for name, allowed in limit._amounts.items() if self[name] > allowed))

    def remaining(self, used: Resources) -> Resources:
        """This limit less what is used: a limit again, with the same names."""
        rest = Resources()
        rest._amounts = {name: allowed - used[name] for name, allowed in self._amounts.items()}
        return rest

    def both(self, other: Resources) -> Resources:
        """The limit that keeps this limit and ``other``."""
        stricter = Resources()
        stricter._amounts = dict(self._amounts)
        for name, allowed in other._amounts.items():
            stricter._amounts[name] = min(allowed, stricter._amounts.get(name, allowed))
        return stricter

    def to_json(self) -> dict[str, Amount]:
        """The vector as a node record holds it."""
        return dict(sorted(self._amounts.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resources) and self._amounts == other._amounts

    def __hash__(self) -> int:
        return hash(frozenset(self._amounts.items()))

    def __repr__(self) -> str:
        return "Resources(" + ", ".join(f"{name}={amount}" for name, amount in sorted(self._amounts.items())) + ")"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
