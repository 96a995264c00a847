"""Activations by name."""

from collections.abc import Callable
from functools import partial

import jax

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,  # max(x, 0); gradient 0 at 0
    "leaky_relu": partial(jax.nn.leaky_relu, negative_slope=0.01),  # x if x > 0 else 0.01 x
    "elu": jax.nn.elu,  # x if x > 0 else exp(x) - 1
    "tanh": jax.numpy.tanh,
    "sigmoid": jax.nn.sigmoid,  # 1 / (1 + exp(-x))
    "gelu": partial(jax.nn.gelu, approximate=False),  # x Phi(x), Phi the normal distribution function
    "silu": jax.nn.silu,  # x sigmoid(x)
    "softplus": jax.nn.softplus,  # log(1 + exp(x))
}
