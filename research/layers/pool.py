"""Pooling layers. None has parameters."""

from dataclasses import dataclass

from research.layers.base import Array, Key, Params, Shape, State, out_shape
from research.layers.conv import Padding, Pair
from research.ops.pool import (
    adaptive_average_pool,
    adaptive_max_pool,
    average_pool,
    global_average_pool,
    max_pool,
)


@dataclass(frozen=True)
class MaxPool:
    """Largest value of each window: ``[N, H, W, C]`` to ``[N, H_out, W_out, C]``.

    Args:
        window: one number, or a pair (height, width).
        strides: as ``window``, and the same as it if not given.
        padding: "SAME", "VALID", a number, or pairs ``((top, bottom), (left, right))``.

    Raises:
        ValueError: the window does not fit the image.
    """

    window: Pair = 2
    strides: Pair | None = None
    padding: Padding = "VALID"

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        out_shape(self, {}, {}, in_shape)
        return {}, {}

    def apply(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        return max_pool(x, self.window, self.strides, self.padding), {}


@dataclass(frozen=True)
class AveragePool:
    """Mean of each window; padding is not counted. Arguments and errors as ``MaxPool``."""

    window: Pair = 2
    strides: Pair | None = None
    padding: Padding = "VALID"

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        out_shape(self, {}, {}, in_shape)
        return {}, {}

    def apply(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        return average_pool(x, self.window, self.strides, self.padding), {}


@dataclass(frozen=True)
class GlobalAveragePool:
    """Mean of each channel: ``[N, H, W, C]`` to ``[N, C]``."""

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        return {}, {}

    def apply(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        return global_average_pool(x), {}


@dataclass(frozen=True)
class AdaptivePool:
    """Pooling to a fixed size from images of any size: ``[N, H, W, C]`` to ``[N, *output_size, C]``.

    Args:
        output_size: one number, or a pair (height, width).
        kind: "average" or "max".

    Raises:
        ValueError: the kind is unknown.
    """

    output_size: Pair
    kind: str = "average"

    def __post_init__(self) -> None:
        if self.kind not in ("average", "max"):
            raise ValueError(f"kind must be average or max, got {self.kind!r}")

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        return {}, {}

    def apply(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        pool = adaptive_average_pool if self.kind == "average" else adaptive_max_pool
        return pool(x, self.output_size), {}
