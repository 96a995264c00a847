"""The values that the docstrings of the schedules promise, for runs of one, two, three and many steps."""

import jax.numpy as jnp
import numpy as np
import pytest

from research.training.schedules import SCHEDULES

ONECYCLE = {"start_divisor": 4.0, "final_divisor": 5.0}
VALUES = [
    ("constant", {}, 3, [1, 1, 1, 1]),
    ("step", {}, 2, [1, 0.1]),
    ("step", {}, 3, [1, 0.1, 0.01]),
    ("step", {"drops": 4, "factor": 0.5}, 2, [1, 0.25, 0.0625]),
    ("step", {"drops": 1}, 5, [1, 1, 1, 0.1, 0.1]),
    ("exponential", {}, 2, [1, 0.01]),
    ("exponential", {}, 3, [1, 0.1, 0.01]),
    ("exponential", {"final": 0.25}, 5, [1, 0.25**0.25, 0.5, 0.25**0.75, 0.25]),
    ("cosine", {"final": 0.2}, 2, [1, 0.6, 0.2, 0.2]),
    ("cosine", {}, 3, [1, 0.75, 0.25, 0, 0]),
    ("onecycle", ONECYCLE, 2, [0.25, 1, 0.05, 0.05]),
    ("onecycle", ONECYCLE, 3, [0.25, 1, 0.525, 0.05]),
    ("onecycle", ONECYCLE | {"warmup": 0.9}, 3, [0.25, 0.625, 1, 0.05]),
    ("onecycle", ONECYCLE | {"warmup": 0.5}, 4, [0.25, 0.625, 1, 0.525, 0.05]),
    ("warmup_cosine", {}, 2, [0.5, 1, 0]),
    ("warmup_cosine", {}, 3, [0.5, 1, 0.5, 0]),
    ("warmup_cosine", {"warmup": 0.99, "final": 0.2}, 3, [1 / 3, 2 / 3, 1, 0.2, 0.2]),
    ("warmup_cosine", {"warmup": 0.4, "final": 0.2}, 6, [1 / 3, 2 / 3, 1, 0.8828427, 0.6, 0.3171573, 0.2]),
    ("cosine_restarts", {}, 2, [1, 0.5, 0]),
    ("cosine_restarts", {}, 3, [1, 1, 0.5, 0]),
    ("cosine_restarts", {"cycles": 2, "growth": 1.0, "final": 0.2}, 4, [1, 0.6, 1, 0.6, 0.2]),
    ("cosine_restarts", {"cycles": 2}, 6, [1, 0.5, 1, 0.8535534, 0.5, 0.1464466, 0]),
    ("polynomial", {}, 2, [1, 0.5, 0, 0]),
    ("polynomial", {"power": 2.0, "final": 0.2}, 4, [1, 0.65, 0.4, 0.25, 0.2]),
    ("trapezoid", {}, 2, [0.5, 1, 0]),
    ("trapezoid", {}, 3, [0.5, 1, 1, 0]),
    (
        "trapezoid",
        {"warmup": 0.3, "decay": 0.4, "final": 0.5},
        10,
        [0.25, 0.5, 0.75, 1, 1, 1, 1, 0.875, 0.75],
    ),
    ("trapezoid", {"warmup": 0.9, "decay": 0.9}, 3, [1 / 3, 2 / 3, 1, 0]),
    ("plateau", {}, 3, [1, 1, 1]),
]


@pytest.mark.parametrize(("name", "arguments", "num_steps", "values"), VALUES)
def test_values_of_few_steps(name, arguments, num_steps, values):
    factors = SCHEDULES[name](num_steps, **arguments)
    np.testing.assert_allclose([float(factors(step)) for step in range(len(values))], values, atol=1e-6)


@pytest.mark.parametrize("name", SCHEDULES)
def test_one_step_has_the_factor_one(name):
    assert float(SCHEDULES[name](1)(0)) == 1


@pytest.mark.parametrize("num_steps", [2, 3, 4, 10, 1000])
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_step_trains_and_one_has_the_peak(name, num_steps):
    schedule = SCHEDULES[name](num_steps)
    factors = np.array(
        [float(schedule(step)) for step in np.unique(np.geomspace(1, num_steps, 40).astype(int)) - 1]
    )
    assert (factors > 0).all()
    if num_steps <= 10:
        assert factors.max() == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "step", "value"),
    [
        ("exponential", 999, 0.01),
        ("cosine", 1000, 0.0),
        ("onecycle", 0, 0.04),
        ("onecycle", 300, 1.0),
        ("onecycle", 1000, 4e-6),
        ("warmup_cosine", 0, 1 / 101),
        ("warmup_cosine", 100, 1.0),
        ("warmup_cosine", 1000, 0.0),
        ("step", 333, 1.0),
        ("step", 334, 0.1),
        ("step", 667, 0.01),
    ],
)
def test_documented_values_of_many_steps(name, step, value):
    assert float(SCHEDULES[name](1000)(jnp.int32(step))) == pytest.approx(value, abs=1e-6)
