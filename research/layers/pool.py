"""Pooling layers, which have no parameters."""

from dataclasses import dataclass

from jax.typing import ArrayLike
from jaxtyping import Float, Shaped

from research.layers.base import Array, Key, ParameterFree, Params, State, make_hashable
from research.ops.adaptive_pool import adaptive_average_pool, adaptive_max_pool, global_average_pool
from research.ops.padding import Padding, Size
from research.ops.pool import average_pool, max_pool


@dataclass(frozen=True)
class MaxPool(ParameterFree):
    """Take the largest value of each window, from `[N, H, W, C]` to `[N, H_out, W_out, C]`.

    Integers stay exact.

    Args:
        window: the size of the window in pixels, one number or a pair `(height, width)`.
        strides: the step of the window in pixels, which is the size of the window if not given.
        padding: the padding, `"SAME"`, `"VALID"`, a number of pixels, `(height, width)`, or
            `((top, bottom), (left, right))`.

    Raises:
        ValueError: the window does not fit into the image.
    """

    window: Size = 2
    strides: Size | None = None
    padding: Padding = "VALID"

    def __post_init__(self) -> None:
        make_hashable(self)

    def apply(
        self,
        params: Params,
        state: State,
        x: Shaped[ArrayLike, "n h w c"],
        *,
        train: bool,
        key: Key | None = None,
    ) -> tuple[Shaped[Array, "n h_out w_out c"], State]:
        """Return the pooled images, with the dtype of `x`, and an empty state."""
        return max_pool(x, self.window, self.strides, self.padding), {}


@dataclass(frozen=True)
class AveragePool(ParameterFree):
    """Take the mean of each window, without counting the padding.

    Args:
        window: the size of the window in pixels, one number or a pair `(height, width)`.
        strides: the step of the window in pixels, which is the size of the window if not given.
        padding: the padding, in the same forms as in `MaxPool`.

    Raises:
        ValueError: the window does not fit into the image.
    """

    window: Size = 2
    strides: Size | None = None
    padding: Padding = "VALID"

    def __post_init__(self) -> None:
        make_hashable(self)

    def apply(
        self,
        params: Params,
        state: State,
        x: Float[ArrayLike, "n h w c"],
        *,
        train: bool,
        key: Key | None = None,
    ) -> tuple[Float[Array, "n h_out w_out c"], State]:
        """Return the pooled images, with the dtype of `x`, and an empty state."""
        return average_pool(x, self.window, self.strides, self.padding), {}


@dataclass(frozen=True)
class GlobalAveragePool(ParameterFree):
    """Take the mean of each channel, from `[N, H, W, C]` to `[N, C]`."""

    def apply(
        self,
        params: Params,
        state: State,
        x: Float[ArrayLike, "n h w c"],
        *,
        train: bool,
        key: Key | None = None,
    ) -> tuple[Float[Array, "n c"], State]:
        """Return the means `[N, C]`, with the dtype of `x`, and an empty state."""
        return global_average_pool(x), {}


@dataclass(frozen=True)
class AdaptivePool(ParameterFree):
    """Pool images of any size to a fixed size, from `[N, H, W, C]` to `[N, *output_size, C]`.

    Args:
        output_size: the size of the output in pixels, one number or a pair `(height, width)`.
        kind: the kind of pooling, `"average"` or `"max"`.

    Raises:
        ValueError: `kind` is unknown.
    """

    output_size: Size
    kind: str = "average"

    def __post_init__(self) -> None:
        make_hashable(self)
        if self.kind not in ("average", "max"):
            raise ValueError(f"kind must be average or max, got {self.kind!r}")

    def apply(
        self,
        params: Params,
        state: State,
        x: Shaped[ArrayLike, "n h w c"],
        *,
        train: bool,
        key: Key | None = None,
    ) -> tuple[Shaped[Array, "n h_out w_out c"], State]:
        """Return the pooled images, with the dtype of `x`, and an empty state."""
        pool = adaptive_average_pool if self.kind == "average" else adaptive_max_pool
        return pool(x, self.output_size), {}
