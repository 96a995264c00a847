"""The dtype that sums are kept in."""

import jax
import jax.numpy as jnp


def accumulation_dtype(x: jax.Array) -> jnp.dtype:
    """float32, or float64 for float64: sums of many bfloat16 numbers must not be rounded at each step."""
    return jnp.dtype("float64" if x.dtype == jnp.float64 else "float32")
