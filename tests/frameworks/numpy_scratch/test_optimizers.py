from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from research.frameworks.numpy_scratch.optimizers import OPTIMIZERS

SAME = {"sgd": optax.sgd, "momentum": lambda rate: optax.sgd(rate, momentum=0.9), "adam": optax.adam}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ten_updates_are_those_of_optax(name):
    generator = np.random.default_rng(0)
    params = {
        "a": generator.standard_normal(5, np.float32),
        "b": generator.standard_normal((2, 3), np.float32),
    }
    ours, theirs = OPTIMIZERS[name](0.1), SAME[name](0.1)
    other: Any = {key: jnp.asarray(p) for key, p in params.items()}
    state, other_state = ours.init(params), theirs.init(other)
    for _ in range(10):
        gradients = {key: generator.standard_normal(p.shape, np.float32) for key, p in params.items()}
        params, state = ours.update(params, gradients, state)
        updates, other_state = theirs.update(gradients, other_state)
        other = optax.apply_updates(other, updates)
    for key, p in params.items():
        assert p.dtype == np.float32
        np.testing.assert_allclose(p, other[key], rtol=1e-4, atol=1e-6)
