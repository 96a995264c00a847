import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.ops.channels import add_bias, sum_channels
from tests.ops.sampling import quick_jit


@pytest.mark.parametrize("shape", [(8, 6, 4, 3), (7, 5, 3, 2), (3, 1, 13, 2), (0, 4), (5, 4)])
def test_the_sum_has_every_row_once(shape):
    x = np.random.default_rng(0).standard_normal(shape)
    with jax.enable_x64():
        total = quick_jit(sum_channels)(jnp.asarray(x))
    np.testing.assert_allclose(total, x.reshape(-1, shape[-1]).sum(0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5), ("bfloat16", 1e-2)])
def test_bias_and_its_gradients_against_numpy(dtype, tolerance):
    rng = np.random.default_rng(0)
    with jax.enable_x64(dtype == "float64"):
        x, cotangent = (jnp.asarray(rng.standard_normal((4, 6, 2, 3)), dtype) for _ in range(2))
        bias = jnp.asarray(rng.standard_normal(3), dtype)
        y, back = jax.vjp(add_bias, x, bias)
        dx, dbias = quick_jit(back)(cotangent)
    assert y.dtype == dbias.dtype == dtype
    wide, weights = np.float64(x), np.float64(cotangent)
    np.testing.assert_allclose(np.float64(y), wide + np.float64(bias), rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(dx, cotangent)
    np.testing.assert_allclose(np.float64(dbias), weights.sum((0, 1, 2)), rtol=tolerance, atol=tolerance)
