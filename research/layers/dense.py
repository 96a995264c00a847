"""The fully connected layer, and the layer that turns images into vectors."""

from dataclasses import dataclass
from math import prod
from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float, Shaped

from research.layers.base import Array, Key, ParameterFree, Params, Shape, State, cast, make_hashable
from research.layers.initializers import INITIALIZERS
from research.ops.precision import as_float
from research.utils.lookup import lookup


@dataclass(frozen=True)
class Dense:
    """Multiply vectors by a learned matrix, and add a bias.

    $$
    y = x K + b
    $$

    The layer turns `[N, D]` into `[N, features]`. Its parameters are `kernel` `[D, features]` and `bias`
    `[features]`, which starts at zero.

    Args:
        features: the number of outputs.
        use_bias: whether a bias is added.
        initializer: the name of the kernel's initializer in `INITIALIZERS`.

    Raises:
        ValueError: the input is not `[N, D]`, `features` is below 1, or the initializer is unknown.

    Example:
        >>> import jax
        >>> params, _ = Dense(10).init(jax.random.key(0), (1, 64))
        >>> params["kernel"].shape, params["bias"].shape
        ((64, 10), (10,))
    """

    features: int
    use_bias: bool = True
    initializer: str = "he_normal"

    def __post_init__(self) -> None:
        make_hashable(self)
        lookup(INITIALIZERS, self.initializer, "initializer")
        if self.features < 1:
            raise ValueError(f"features must be at least 1, got {self.features}")

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        """Return the kernel and the bias, and no state."""
        _check_vectors(in_shape)
        shape = (in_shape[-1], self.features)
        params = {"kernel": lookup(INITIALIZERS, self.initializer, "initializer")(key, shape, jnp.float32)}
        if self.use_bias:
            params["bias"] = jnp.zeros(self.features, jnp.float32)
        return params, {}

    def apply(
        self,
        params: Params,
        state: State,
        x: Float[ArrayLike, "n d"],
        *,
        train: bool,
        key: Key | None = None,
    ) -> tuple[Float[Array, "n {self.features}"], State]:
        """Return the outputs `[N, features]`, with the dtype of `x`, and an empty state."""
        x = as_float(x)
        _check_vectors(x.shape)
        if x.shape[-1] != params["kernel"].shape[0]:
            raise ValueError(f"kernel has {params['kernel'].shape[0]} inputs, x has {x.shape[-1]}")
        y = x @ cast(params["kernel"], x)
        if self.use_bias:
            y += cast(params["bias"], x)[None, :]
        return y, {}


@dataclass(frozen=True)
class Flatten(ParameterFree):
    """Turn each example into one vector, `[N, H, W, C]` into `[N, H * W * C]`."""

    def apply(
        self,
        params: Params,
        state: State,
        x: Shaped[ArrayLike, " n *features"],
        *,
        train: bool,
        key: Key | None = None,
    ) -> tuple[Shaped[Array, "n d"], State]:
        """Return the vectors, with the dtype of `x`, and an empty state."""
        x = jnp.asarray(x)
        return x.reshape(x.shape[0], prod(x.shape[1:])), {}


def _check_vectors(shape: tuple[Any, ...]) -> None:
    """Raise a ValueError unless `shape` is `[N, D]`, where `N` is a symbol while a network is exported."""
    if len(shape) != 2:
        raise ValueError(
            f"Dense takes vectors [N, D], x has shape {list(shape)}: put Flatten or GlobalAveragePool first"
        )
