import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.analysis import effective_size, influence, receptive_fields
from research.layers import Activation, Conv2D, MaxPool, Sequential


def init(net, size=33):
    return net.init(jax.random.key(0), (1, size, size, 1)), jax.random.normal(
        jax.random.key(1), (4, size, size, 1)
    )


def test_influence_of_one_convolution_is_its_kernel():
    net = Sequential((("conv", Conv2D(1)),))
    (params, state), images = init(net, 9)
    found = influence(net, params, state, images)
    assert np.allclose(found[3:6, 3:6], abs(params["conv"]["kernel"][:, :, 0, 0]))
    assert float(found.sum()) == float(found[3:6, 3:6].sum())


@pytest.mark.slow
def test_no_influence_reaches_beyond_the_theoretical_field():
    net = Sequential(
        (
            ("a", Conv2D(8)),
            ("act", Activation("tanh")),
            ("pool", MaxPool(2)),
            ("b", Conv2D(8)),
            ("c", Conv2D(8)),
        )
    )
    (params, state), images = init(net)
    theory = list(receptive_fields(net, images.shape).values())[-1].size[0]
    effective, reached = effective_size(influence(net, params, state, images))
    assert theory == 12
    assert effective <= reached <= theory
    assert reached >= 11  # pooling takes one of two pixels, the same in none of four images but by chance


def test_effective_size_of_a_spread_influence():
    assert effective_size(jnp.ones((7, 7))) == (7, 7)
    bright = jnp.pad(jnp.full((3, 3), 100.0), 2) + 0.1
    assert effective_size(bright) == (3, 7)
