"""The dtypes in which ops compute."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Shaped


def as_float(x: Shaped[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """Return `x` as an array of JAX, which is float32 for a float64 array of NumPy unless x64 is on.

    Means, scaled numbers and dot products are rarely whole numbers, so the ops that compute them refuse
    integers instead of rounding the results.

    Raises:
        TypeError: `x` does not hold floating point numbers.

    Example:
        >>> import numpy as np
        >>> as_float(np.ones(2)).dtype
        dtype('float32')
    """
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(
            f"layers compute in floating point, x has dtype {x.dtype}; give x.astype(jnp.float32)"
        )
    return x


def accumulation_dtype(x: Array) -> jnp.dtype:
    """Return float64 if `x` is float64, and float32 otherwise.

    A sum of many bfloat16 numbers must not be rounded to bfloat16 at each step, so it is kept in float32.
    """
    return jnp.dtype("float64" if x.dtype == jnp.float64 else "float32")
