import math

import pytest

from research.utils.constraints import Between, Fraction, NonNegative, OneOf, Positive, Rate


@pytest.mark.parametrize(
    ("constraint", "inside", "outside", "said"),
    [
        (Between(1, 4), (1, 4), (0, 5), "from 1 to 4"),
        (NonNegative, (0, 1e9), (-1, math.inf, math.nan), "at least 0"),
        (Positive, (1e-9,), (0, -1, math.inf, math.nan), "above 0"),
        (Rate, (0, 0.99), (1, -0.1), "at least 0 and below 1"),
        (Fraction, (0.01, 0.99), (0, 1), "above 0 and below 1"),
        (OneOf(("b", "a")), ("a",), ("c",), "one of a, b"),
    ],
)
def test_what_is_in_and_how_it_is_said(constraint, inside, outside, said):
    assert all(value in constraint for value in inside)
    assert not any(value in constraint for value in outside)
    assert str(constraint) == said
