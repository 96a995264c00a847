import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from research.ops.activation import ACTIVATIONS
from tests.ops.sampling import quick_jit

# name: value and derivative in NumPy
REFERENCES = {
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0),
    "leaky_relu": (lambda x: np.where(x >= 0, x, 0.01 * x), lambda x: np.where(x >= 0, 1, 0.01)),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(x)), lambda x: np.where(x > 0, 1, np.exp(x))),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "sigmoid": (special.expit, lambda x: special.expit(x) * special.expit(-x)),
    "gelu": (lambda x: x * stats.norm.cdf(x), lambda x: stats.norm.cdf(x) + x * stats.norm.pdf(x)),
    "silu": (
        lambda x: x * special.expit(x),
        lambda x: special.expit(x) * (1 + x * special.expit(-x)),
    ),
    "softplus": (lambda x: np.logaddexp(x, 0), special.expit),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 2e-6), ("bfloat16", 2e-2)])
def test_value_and_derivative(name, dtype, tolerance):
    with jax.enable_x64(dtype == "float64"):
        x = jnp.asarray(np.linspace(-6, 6, 49), dtype)
        y, derivative = quick_jit(jax.vmap(jax.value_and_grad(ACTIVATIONS[name])))(x)
    assert y.dtype == derivative.dtype == x.dtype
    value_reference, derivative_reference = REFERENCES[name]
    exact = np.float64(x)
    np.testing.assert_allclose(np.float64(y), value_reference(exact), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(
        np.float64(derivative), derivative_reference(exact), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_large_inputs_stay_finite(name):
    y, derivative = jax.vmap(jax.value_and_grad(ACTIVATIONS[name]))(jnp.array([-1e4, -100.0, 100.0, 1e4]))
    assert np.isfinite(y).all()
    np.testing.assert_allclose(derivative[2:], 1.0 if name not in ("tanh", "sigmoid") else 0.0, atol=1e-6)
