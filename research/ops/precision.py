"""The dtype in which sums are accumulated."""

import jax.numpy as jnp
from jax import Array


def accumulation_dtype(x: Array) -> jnp.dtype:
    """Return float64 if `x` is float64, and float32 otherwise.

    A sum of many bfloat16 numbers must not be rounded to bfloat16 at each step, so it is kept in float32.
    """
    return jnp.dtype("float64" if x.dtype == jnp.float64 else "float32")
