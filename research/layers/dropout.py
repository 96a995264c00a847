"""Dropout as layers, which draw random numbers in training and are the identity otherwise."""

from abc import abstractmethod
from dataclasses import dataclass

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Shaped

from research.layers.base import Array, Key, ParameterFree, Params, State, make_hashable
from research.ops.dropout import dropout, spatial_dropout, stochastic_depth


@dataclass(frozen=True)
class _DropLayer(ParameterFree):
    """A layer that drops numbers in training, by the function `_drop` of its class."""

    rate: float

    def __post_init__(self) -> None:
        make_hashable(self)
        if not 0 <= self.rate < 1:
            raise ValueError(f"rate must be in [0, 1), got {self.rate}")

    @staticmethod
    @abstractmethod
    def _drop(keys: Key, x: ArrayLike, rate: float) -> Array: ...

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
        if not train:
            return jnp.asarray(x), {}
        if key is None:
            raise ValueError(f"{self} with train=True needs key, an array of typed keys [N], one per example")
        return self._drop(key, x, self.rate), {}


@dataclass(frozen=True)
class Dropout(_DropLayer):
    """Set each element to 0 with probability `rate`, and divide the others by `1 - rate`.

    The mask of an example depends on its own key alone, not on the other examples of the batch.

    Args:
        rate: the probability of dropping, in [0, 1).

    Raises:
        ValueError: `rate` is out of range, or `apply` is called with `train=True` and without keys.

    Source: Srivastava et al. (2014), section 4 (scaled while training).
    """

    _drop = staticmethod(dropout)


@dataclass(frozen=True)
class SpatialDropout(_DropLayer):
    """Drop whole channels of an image, as `Dropout` drops elements.

    Args:
        rate: the probability of dropping a channel, in [0, 1).

    Raises:
        ValueError: `rate` is out of range, or `apply` is called with `train=True` and without keys.

    Source: Tompson et al. (2015), section 3.2.
    """

    _drop = staticmethod(spatial_dropout)


@dataclass(frozen=True)
class StochasticDepth(_DropLayer):
    """Drop whole examples, as `Dropout` drops elements. In a residual block the input is then the output.

    Args:
        rate: the probability of dropping an example, in [0, 1).

    Raises:
        ValueError: `rate` is out of range, or `apply` is called with `train=True` and without keys.

    Source: Huang et al. (2016), Deep networks with stochastic depth, section 3.
    """

    _drop = staticmethod(stochastic_depth)
