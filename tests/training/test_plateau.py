"""The schedule that drops when the validation does not improve."""

import pytest

from research.training.callback import EpochMetrics
from research.training.plateau import make_plateau

KEYS = {"factor": 0.5, "patience": 2, "cooldown": 0, "tolerance": 1e-4}


def history(losses):
    return [EpochMetrics(i, i, 0.0, 0.0, loss, 1 - loss, 0.1, 0.0) for i, loss in enumerate(losses, 1)]


@pytest.mark.parametrize("monitor", ["accuracy", "loss"])
@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]),
        ({"patience": 1, "cooldown": 2}, [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]),
        ({"patience": 1, "tolerance": 0.5}, [1, 1, 0.5, 0.25, 0.125, 0.125, 0.0625, 0.03125, 0.015625]),
    ],
)
def test_the_factor_drops_after_epochs_without_a_better_measure(monitor, keys, expected):
    losses = [0.9, 0.8, 0.8, 0.85, 0.3, 0.3, 0.31, 0.29]
    plateau = make_plateau(monitor, 10, **(KEYS | keys))
    lines = history(losses)
    assert [plateau(lines[:count]) for count in range(len(lines) + 1)] == expected
