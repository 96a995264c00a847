"""Each op keeps the dtype of its input, in its value and its gradient, with 64-bit numbers on and off."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.models import MODELS
from research.ops.conv import CONV_ALGORITHMS, conv2d
from tests.ops.sampling import quick_jit
from tests.ops.test_compiled import OPS, draw

NARROW = ("float16", "bfloat16", "float32")
CASES = [(False, dtype) for dtype in NARROW] + [(True, dtype) for dtype in (*NARROW, "float64")]


# a convolution with two groups has the dtypes of one with a single group
@pytest.mark.parametrize("name", [name for name in OPS if not name.endswith(" 1")])
def test_value_and_gradient_have_the_dtype_of_the_input(name):
    def value_and_gradient(x):
        y, pullback = jax.vjp(OPS[name], x)
        return y, *pullback(jnp.ones_like(y))

    for x64, dtype in CASES:
        with jax.enable_x64(x64):
            found = jax.eval_shape(value_and_gradient, jax.ShapeDtypeStruct((3, 8, 10, 4), dtype))
        assert [str(array.dtype) for array in found] == [dtype, dtype], f"x64 {x64}"


@pytest.mark.parametrize("algorithm", ["auto", *CONV_ALGORITHMS])
def test_64_bit_numbers_change_no_float32_convolution(algorithm):
    x, kernel = draw(0, 1, 8, 8, 16), draw(1, 3, 3, 16, 32)
    convolve = quick_jit(partial(conv2d, algorithm=algorithm))
    expected = convolve(x, kernel)
    with jax.enable_x64(True):
        np.testing.assert_array_equal(convolve(x, kernel), expected)


def test_a_network_of_float32_parameters_stays_in_float32_with_64_bit_numbers():
    net = MODELS["plain"]((8, 8, 1), 10, norm="batch")
    params, state = jax.eval_shape(lambda: net.init(jax.random.key(0), (1, 8, 8, 1)))

    def loss(params, state, x):
        logits, new_state = net.apply(params, state, x, train=True)
        return logits.sum(), new_state

    x = jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.float32)
    with jax.enable_x64(True):
        found = jax.eval_shape(jax.value_and_grad(loss, has_aux=True), params, state, x)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(found)} == {"float32"}
