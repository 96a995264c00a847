"""Constraints on numbers and names, which are written in the annotation of an argument.

An example is `depth: Annotated[int, Between(1, 4)]`. `research.config` reads such annotations and refuses
every other value. `value in constraint` tells whether a value is allowed, and `str(constraint)` says in words
which values are.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Between:
    """The finite numbers from `low` to `high`.

    Args:
        low: the smallest number.
        high: the largest number.
        low_excluded: whether `low` itself is not allowed.
        high_excluded: whether `high` itself is not allowed.

    Example:
        >>> 0.5 in Between(0, 1), str(Between(0, 1, high_excluded=True))
        (True, 'at least 0 and below 1')
    """

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


# An annotation must be hashable, and a dict is not. Without `eq`, the hash is that of the identity.
@dataclass(frozen=True, eq=False)
class OneOf:
    """One of the given names.

    Args:
        names: the names that are allowed, such as the keys of a dict.

    Example:
        >>> "relu" in OneOf(("relu", "tanh")), str(OneOf(("relu", "tanh")))
        (True, 'one of relu, tanh')
    """

    names: Iterable[str]

    def __contains__(self, value: Any) -> bool:
        return value in self.names

    def __str__(self) -> str:
        return f"one of {', '.join(sorted(self.names))}"


Positive = Between(0, low_excluded=True)
NonNegative = Between(0)
Rate = Between(0, 1, high_excluded=True)
Share = Between(0, 1, low_excluded=True)
Fraction = Between(0, 1, low_excluded=True, high_excluded=True)
AtLeastOne = Between(1)
