"""Dropout as layers: they draw random numbers while training and are the identity otherwise."""

from dataclasses import dataclass

from research.layers.base import Array, Key, Params, Shape, State
from research.ops.dropout import dropout, spatial_dropout


@dataclass(frozen=True)
class Dropout:
    """Each number becomes 0 with probability ``rate``, the others are divided by ``1 - rate``.

    The mask of an example depends on its own key alone, not on the batch it came in.

    Args:
        rate: probability of dropping, in [0, 1).

    Raises:
        ValueError: the rate is out of range, or ``apply`` trains without keys.

    Source: Srivastava et al. (2014), section 4 (scaled while training).
    """

    rate: float

    def __post_init__(self) -> None:
        _check_rate(self.rate)

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        return {}, {}

    def apply(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        return (dropout(_need_keys(self, key), x, self.rate) if train else x), {}


@dataclass(frozen=True)
class SpatialDropout:
    """As ``Dropout``, but whole channels of an image are kept or dropped together.

    Args:
        rate: probability of dropping a channel, in [0, 1).

    Raises:
        ValueError: the rate is out of range, or ``apply`` trains without keys.

    Source: Tompson et al. (2015), section 3.2.
    """

    rate: float

    def __post_init__(self) -> None:
        _check_rate(self.rate)

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        return {}, {}

    def apply(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        return (spatial_dropout(_need_keys(self, key), x, self.rate) if train else x), {}


def _check_rate(rate: float) -> None:
    if not 0 <= rate < 1:
        raise ValueError(f"rate must be in [0, 1), got {rate}")


def _need_keys(layer: object, key: Key | None) -> Key:
    if key is None:
        raise ValueError(f"{layer} with train=True needs key, an array of typed keys [N], one per example")
    return key
