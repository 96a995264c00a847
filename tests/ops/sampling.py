"""Many cases in little time: few in which every pair of options still meets, compiled without care."""

import itertools
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax

from research.utils.xla import at_level

Case = dict[str, Any]

# compiling is what takes the time; test_compiled.py is for the programs that XLA optimises
quick_jit = partial(jax.jit, compiler_options=at_level(0))


def product(valid: Callable[[Case], bool] = lambda case: True, **options: Sequence[Any]) -> list[Case]:
    cases = (dict(zip(options, values, strict=True)) for values in itertools.product(*options.values()))
    return [case for case in cases if valid(case)]


def every_pair(valid: Callable[[Case], bool] = lambda case: True, **options: Sequence[Any]) -> list[Case]:
    """Greedy choice from the product: in turn the case with the most pairs that no earlier case has."""
    cases = product(valid, **options)
    random.Random(0).shuffle(cases)
    # a case's pairs are the bits of a number, which makes counting those that are missing fast
    numbers: dict[Any, int] = {}
    pairs = [
        sum(
            1 << numbers.setdefault(pair, len(numbers))
            for pair in itertools.combinations([(k, repr(v)) for k, v in case.items()], 2)
        )
        for case in cases
    ]
    missing, chosen = (1 << len(numbers)) - 1, []
    while missing:
        best = max(range(len(cases)), key=lambda i: (pairs[i] & missing).bit_count())
        missing &= ~pairs[best]
        chosen.append(cases[best])
    return chosen


def name(case: Case) -> str:
    return "-".join(f"{key}={value}".replace(" ", "") for key, value in case.items())
