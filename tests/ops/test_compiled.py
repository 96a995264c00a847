"""Each op compiled, alone and inside a scan, against the same op run operation by operation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from research.ops.activation import ACTIVATIONS
from research.ops.adaptive_pool import (
    adaptive_average_pool,
    adaptive_max_pool,
    global_average_pool,
    global_max_pool,
)
from research.ops.conv import CONV_ALGORITHMS, conv2d
from research.ops.dropout import dropout, spatial_dropout, stochastic_depth
from research.ops.norm import batch_norm, batch_statistics, group_norm, layer_norm
from research.ops.pool import average_pool, max_pool


def draw(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def with_kernel(function, kernel_shape):
    return lambda x: function(x, draw(1, *kernel_shape).astype(x.dtype))


def with_vectors(function):
    return lambda x: function(x, *(draw(seed, 4).astype(x.dtype) for seed in (1, 2)))


def with_keys(function):
    return lambda x: function(jax.random.split(jax.random.key(0), 3), x, 0.5)


OPS = {
    **{
        f"conv2d {algorithm} {groups}": with_kernel(
            lambda x, k, a=algorithm, g=groups, s=strides: jnp.tanh(
                conv2d(x, k, strides=s, groups=g, algorithm=a)
            ),
            (3, 3, 4 // groups, 8),
        )
        for algorithm in CONV_ALGORITHMS
        for groups, strides in ((1, 1), (2, 2 if algorithm in ("lax", "im2col", "shifted") else 1))
    },
    "network": with_kernel(lambda x, k: max_pool(jax.nn.relu(conv2d(max_pool(x), k))), (3, 3, 4, 4)),
    "max_pool": max_pool,
    "max_pool overlapping": lambda x: max_pool(x, 3, 2, "SAME"),
    "average_pool": average_pool,
    "average_pool overlapping": lambda x: average_pool(x, 3, 2, "SAME"),
    "global_max_pool": global_max_pool,
    "global_average_pool": global_average_pool,
    "adaptive_max_pool": lambda x: adaptive_max_pool(x, 2),
    "adaptive_average_pool": lambda x: adaptive_average_pool(x, 2),
    "batch_norm": with_vectors(lambda x, s, b: batch_norm(x, *batch_statistics(x), s, b)),
    "layer_norm": with_vectors(layer_norm),
    "group_norm": with_vectors(lambda x, s, b: group_norm(x, s, b, num_groups=2)),
    "dropout": with_keys(dropout),
    "spatial_dropout": with_keys(spatial_dropout),
    "stochastic_depth": with_keys(stochastic_depth),
    **ACTIVATIONS,
}


# winograd2 is winograd4 with other matrices, and groups are the same code with another shape
SLOW = ("conv2d winograd2 1", *(f"conv2d {algorithm} 2" for algorithm in CONV_ALGORITHMS))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in OPS]
)
def test_compiled_is_eager(name):
    x = draw(0, 3, 8, 10, 4)

    def value_and_gradient(x):
        y, pullback = jax.vjp(OPS[name], x)
        return y, *pullback(jnp.cos(y))

    @jax.jit
    def compiled(x):
        _, scanned = lax.scan(lambda x, _: (x, value_and_gradient(x)), x, None, length=2)
        return value_and_gradient(x), scanned

    atol = 5e-5 if "winograd4" in name else 1e-5  # its transforms amplify rounding (measured: 1.8e-5)
    expected = value_and_gradient(x)
    alone, scanned = compiled(x)
    for what, e, a, s in zip(("value", "gradient"), expected, alone, scanned, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-5, atol=atol, err_msg=f"{what}, jit")
        np.testing.assert_allclose(s, jnp.stack([e, e]), rtol=1e-5, atol=atol, err_msg=f"{what}, scan")
