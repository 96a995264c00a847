"""More than one trial of the faults that cost little; ``run.py`` tries each as often as is asked."""

import pytest

from tests.integration.faults import run

COUNTS = {"configs": 10, "dataset": 4, "record": 4, "image_bomb": 3, "checkpoint_bomb": 4, "hostile_names": 3}


@pytest.mark.parametrize(
    ("name", "seed"),
    [(name, seed) for name, count in COUNTS.items() for seed in range(10_000, 10_000 + count)],
)
def test_a_trial_passes(name, seed):
    run.run_trial(run.FAULTS[name][0], seed)
