"""Numbers drawn by NumPy: XLA takes over a second to compile each draw of its own."""

from functools import partial

import jax
import numpy as np
import pytest

from research.layers.base import abstract_init
from research.utils.xla import at_level


@pytest.fixture(autouse=True)
def _strict(strict_types):
    """Ops and layers hold under strict dtype and rank promotion."""


@pytest.fixture
def draw():
    """A function from a shape to standard normal float32 numbers."""
    rng = np.random.default_rng(0)
    return lambda shape: jax.numpy.asarray(rng.normal(size=shape).astype(np.float32))


@pytest.fixture
def fill(draw):
    """A function from a layer and its input shape to random parameters and a random, positive state."""

    def fill_layer(layer, in_shape):
        params, state = abstract_init(layer, in_shape)
        return jax.tree.map(lambda s: draw(s.shape), params), jax.tree.map(
            lambda s: abs(draw(s.shape)), state
        )

    return fill_layer


@pytest.fixture
def quick_jit():
    """``jax.jit`` that compiles several times faster, to slower programs."""
    return partial(jax.jit, compiler_options=at_level(0))
