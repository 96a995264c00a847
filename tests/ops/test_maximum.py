import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.ops.maximum import UNROLLED, first_max


@pytest.mark.parametrize("columns", [5, 7])
def test_the_first_in_reading_order_wins_over_several_axes(columns):
    count = 3 * columns
    assert (count <= UNROLLED) == (columns == 5)  # both ways to find it
    x = jnp.asarray(np.random.default_rng(0).integers(0, 3, (4, 3, 2, columns)), jnp.float32)
    gradient = jax.grad(lambda x: first_max(x, (1, 3)).sum())(x)
    windows = np.asarray(x).transpose(0, 2, 1, 3).reshape(8, count)
    expected = np.zeros((8, count))
    expected[np.arange(8), windows.argmax(1)] = 1
    np.testing.assert_array_equal(first_max(x, (1, 3)).ravel(), windows.max(1))
    np.testing.assert_array_equal(gradient.transpose(0, 2, 1, 3).reshape(8, count), expected)
