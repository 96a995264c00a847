"""Activation functions by name."""

from collections.abc import Callable
from functools import partial

import jax
from jax import Array

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,  # max(x, 0), with gradient 0 at 0
    "leaky_relu": partial(jax.nn.leaky_relu, negative_slope=0.01),  # x if x > 0, else 0.01 x
    "elu": jax.nn.elu,  # x if x > 0, else exp(x) - 1
    "tanh": jax.numpy.tanh,
    "sigmoid": jax.nn.sigmoid,  # 1 / (1 + exp(-x))
    "gelu": partial(jax.nn.gelu, approximate=False),  # x Phi(x), with the normal distribution function Phi
    "silu": jax.nn.silu,  # x sigmoid(x)
    "softplus": jax.nn.softplus,  # log(1 + exp(x))
}
"""The activation functions by the name that a layer, a model or a configuration gives.

Each is applied to every element and keeps shape and dtype.
"""
