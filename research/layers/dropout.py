"""Dropout as layers, which draw random numbers in training and are the identity otherwise."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Shaped

from research.layers.base import Array, Key, ParameterFree, Params, State, make_hashable
from research.ops.dropout import dropout, spatial_dropout, stochastic_depth


@dataclass(frozen=True)
class Dropout(ParameterFree):
    """Set each element to 0 with probability `rate`, and divide the others by `1 - rate`.

    The mask of an example depends on its own key alone, not on the other examples of the batch.

    Args:
        rate: the probability of dropping, in [0, 1).

    Raises:
        ValueError: `rate` is out of range, or `apply` is called with `train=True` and without keys.

    Source: Srivastava et al. (2014), section 4 (scaled while training).
    """

    rate: float

    def __post_init__(self) -> None:
        make_hashable(self)
        _check_rate(self.rate)

    def apply(
        self,
        params: Params,
        state: State,
        x: Shaped[ArrayLike, " n *features"],
        *,
        train: bool,
        key: Key | None = None,
    ) -> tuple[Shaped[Array, " n *features"], State]:
        """Return `x` with dropout if `train` is true and unchanged otherwise, and an empty state."""
        return (dropout(_need_keys(self, key), x, self.rate) if train else jnp.asarray(x)), {}


@dataclass(frozen=True)
class SpatialDropout(ParameterFree):
    """Drop whole channels of an image, as `Dropout` drops elements.

    Args:
        rate: the probability of dropping a channel, in [0, 1).

    Raises:
        ValueError: `rate` is out of range, or `apply` is called with `train=True` and without keys.

    Source: Tompson et al. (2015), section 3.2.
    """

    rate: float

    def __post_init__(self) -> None:
        make_hashable(self)
        _check_rate(self.rate)

    def apply(
        self,
        params: Params,
        state: State,
        x: Shaped[ArrayLike, " n *features"],
        *,
        train: bool,
        key: Key | None = None,
    ) -> tuple[Shaped[Array, " n *features"], State]:
        """Return `x` with dropout if `train` is true and unchanged otherwise, and an empty state."""
        return (spatial_dropout(_need_keys(self, key), x, self.rate) if train else jnp.asarray(x)), {}


@dataclass(frozen=True)
class StochasticDepth(ParameterFree):
    """Drop whole examples, as `Dropout` drops elements. In a residual block the input is then the output.

    Args:
        rate: the probability of dropping an example, in [0, 1).

    Raises:
        ValueError: `rate` is out of range, or `apply` is called with `train=True` and without keys.

    Source: Huang et al. (2016), Deep networks with stochastic depth, section 3.
    """

    rate: float

    def __post_init__(self) -> None:
        make_hashable(self)
        _check_rate(self.rate)

    def apply(
        self,
        params: Params,
        state: State,
        x: Shaped[ArrayLike, " n *features"],
        *,
        train: bool,
        key: Key | None = None,
    ) -> tuple[Shaped[Array, " n *features"], State]:
        """Return `x` with dropout if `train` is true and unchanged otherwise, and an empty state."""
        return (stochastic_depth(_need_keys(self, key), x, self.rate) if train else jnp.asarray(x)), {}


def _check_rate(rate: float) -> None:
    """Raise a ValueError unless `rate` is in [0, 1)."""
    if not 0 <= rate < 1:
        raise ValueError(f"rate must be in [0, 1), got {rate}")


def _need_keys(layer: object, key: Key | None) -> Key:
    """Return the keys, or raise a ValueError if there are none."""
    if key is None:
        raise ValueError(f"{layer} with train=True needs key, an array of typed keys [N], one per example")
    return key
