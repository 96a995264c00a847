import jax
import jax.numpy as jnp
import numpy as np

from research.ops.maximum import first_max


def test_the_first_in_reading_order_wins_over_several_axes():
    x = jnp.asarray(np.random.default_rng(0).integers(0, 3, (4, 3, 2, 5)), jnp.float32)
    gradient = jax.grad(lambda x: first_max(x, (1, 3)).sum())(x)
    windows = np.asarray(x).transpose(0, 2, 1, 3).reshape(8, 15)
    expected = np.zeros((8, 15))
    expected[np.arange(8), windows.argmax(1)] = 1
    np.testing.assert_array_equal(first_max(x, (1, 3)).ravel(), windows.max(1))
    np.testing.assert_array_equal(gradient.transpose(0, 2, 1, 3).reshape(8, 15), expected)
