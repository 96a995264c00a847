"""Dropout with one key per example, so that masks do not depend on how a batch is split."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Key

from research.ops.precision import as_float


def dropout(
    keys: Key[Array, " n"], x: Float[ArrayLike, " n *features"], rate: float
) -> Float[Array, " n *features"]:
    r"""Set each element to 0 with probability `rate`, and scale the others up so that the mean is kept.

    $$
    y = m\,x / (1 - r), \quad m \sim \mathrm{Bernoulli}(1 - r)
    $$

    Args:
        keys: the typed keys `[N]`, one per example.
        x: the input `[N, ...]`, of floating point numbers.
        rate: the probability of dropping, in [0, 1).

    Returns:
        An array with the shape and dtype of `x`.

    Raises:
        ValueError: `rate` is out of range, or there is not one key per example.
        TypeError: `keys` are not typed keys, or `x` does not hold floating point numbers.

    Example:
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> sorted(set(dropout(keys, jnp.ones((2, 50)), 0.5).ravel().tolist()))
        [0.0, 2.0]

    Source: Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, 2014.
    """
    x = as_float(x)
    return _drop(keys, x, rate, x.shape[1:])


def spatial_dropout(
    keys: Key[Array, " n"], x: Float[ArrayLike, "n *spatial c"], rate: float
) -> Float[Array, "n *spatial c"]:
    """Drop whole feature maps as `dropout` drops elements, with one draw per example and channel.

    Args:
        keys: the typed keys `[N]`, one per example.
        x: the images `[N, H, W, C]`, of floating point numbers.
        rate: the probability of dropping a feature map, in [0, 1).

    Returns:
        An array with the shape and dtype of `x`.

    Raises:
        ValueError: `rate` is out of range, or there is not one key per example.
        TypeError: `keys` are not typed keys, or `x` does not hold floating point numbers.

    Example:
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> y = spatial_dropout(keys, jnp.ones((2, 4, 4, 8)), 0.5)
        >>> bool((y == y[:, :1, :1]).all())
        True

    Source: Tompson et al., Efficient Object Localization Using Convolutional Networks, 2015, section 3.2.
    """
    x = as_float(x)
    return _drop(keys, x, rate, (1,) * (x.ndim - 2) + x.shape[-1:])


def stochastic_depth(
    keys: Key[Array, " n"], x: Float[ArrayLike, " n *features"], rate: float
) -> Float[Array, " n *features"]:
    """Drop whole examples as `dropout` drops elements, with one draw per example.

    Args:
        keys: the typed keys `[N]`, one per example.
        x: the input `[N, ...]`, of floating point numbers.
        rate: the probability of dropping an example, in [0, 1).

    Returns:
        An array with the shape and dtype of `x`.

    Raises:
        ValueError: `rate` is out of range, or there is not one key per example.
        TypeError: `keys` are not typed keys, or `x` does not hold floating point numbers.

    Example:
        >>> keys = jax.random.split(jax.random.key(0), 20)
        >>> sorted(set(stochastic_depth(keys, jnp.ones((20, 2)), 0.5).sum(1).tolist()))
        [0.0, 4.0]

    Source: Huang et al. (2016), Deep networks with stochastic depth, section 3, scaled while training.
    """
    x = as_float(x)
    return _drop(keys, x, rate, (1,) * (x.ndim - 1))


def check_keys(keys: Array, num_examples: int) -> None:
    """Raise an error unless `keys` is an array of typed keys, one for each of `num_examples` examples.

    Raises:
        ValueError: there is not one key per example.
        TypeError: `keys` are not typed keys.
    """
    if not isinstance(keys, Array) or not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key):
        given = f"{keys.dtype}{list(keys.shape)}" if hasattr(keys, "dtype") else repr(keys)
        raise TypeError(f"keys must be typed keys from jax.random.key, got {given}")
    if keys.shape != (num_examples,):
        raise ValueError(f"keys has shape {keys.shape}, x has {num_examples} examples; give a key for each")


def _drop(keys: Array, x: Array, rate: float, mask_shape: tuple[int, ...]) -> Array:
    """Multiply each example by a random mask of `mask_shape`, which is broadcast over the example."""
    if not 0 <= rate < 1:
        raise ValueError(f"rate must be in [0, 1), got {rate}")
    check_keys(keys, x.shape[0])
    rate = float(rate)  # a float64 of NumPy would widen the result
    if rate == 0:
        return x
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, mask_shape))(keys)
    return jnp.where(keep, x / (1 - rate), 0)
