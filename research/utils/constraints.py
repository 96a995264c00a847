"""What a number or a name may be, said next to it in an annotation.

``depth: Annotated[int, Between(1, 4)]`` is read by ``research.config``, which refuses anything else.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Between:
    """A number from ``low`` to ``high``; each end may be excluded."""

    low: float
    high: float = float("inf")
    low_excluded: bool = False
    high_excluded: bool = False

    def __contains__(self, value: Any) -> bool:
        above = value > self.low if self.low_excluded else value >= self.low
        below = value < self.high if self.high_excluded else value <= self.high
        return above and below and value != float("inf")

    def __str__(self) -> str:
        low = f"above {self.low:.12g}" if self.low_excluded else f"at least {self.low:.12g}"
        if self.high == float("inf"):
            return low
        if self.low_excluded or self.high_excluded:
            return f"{low} and {'below' if self.high_excluded else 'at most'} {self.high:.12g}"
        return f"from {self.low:.12g} to {self.high:.12g}"


@dataclass(frozen=True, eq=False)  # hashed by identity: an annotation must be hashable, a dict is not
class OneOf:
    """One of some names."""

    names: Iterable[str]

    def __contains__(self, value: Any) -> bool:
        return value in self.names

    def __str__(self) -> str:
        return f"one of {', '.join(sorted(self.names))}"


Positive = Between(0, low_excluded=True)
NonNegative = Between(0)
Rate = Between(0, 1, high_excluded=True)
Fraction = Between(0, 1, low_excluded=True, high_excluded=True)
AtLeastOne = Between(1)
