"""The fully connected layer, and the layer that makes vectors of images."""

from dataclasses import dataclass
from math import prod

import jax.numpy as jnp

from research.layers.base import Array, Key, Params, Shape, State, cast
from research.layers.initializers import INITIALIZERS
from research.utils.lookup import lookup


@dataclass(frozen=True)
class Dense:
    """Every output depends on every input.

    .. math:: y = x K + b

    ``[N, D]`` to ``[N, features]``; parameters ``kernel`` ``[D, features]`` and ``bias`` ``[features]``.

    Args:
        features: number of outputs.
        use_bias: whether a bias (zeros at first) is added.
        initializer: a name from ``INITIALIZERS``.

    Raises:
        ValueError: the input is not ``[N, D]``, or the initialiser is unknown.

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
        lookup(INITIALIZERS, self.initializer, "initializer")
        if self.features < 1:
            raise ValueError(f"features must be at least 1, got {self.features}")

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        _check_vectors(in_shape)
        shape = (in_shape[-1], self.features)
        params = {"kernel": lookup(INITIALIZERS, self.initializer, "initializer")(key, shape, jnp.float32)}
        if self.use_bias:
            params["bias"] = jnp.zeros(self.features, jnp.float32)
        return params, {}

    def apply(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        _check_vectors(x.shape)
        if x.shape[-1] != params["kernel"].shape[0]:
            raise ValueError(f"kernel has {params['kernel'].shape[0]} inputs, x has {x.shape[-1]}")
        y = x @ cast(params["kernel"], x)
        if self.use_bias:
            y += cast(params["bias"], x)[None, :]
        return y, {}


@dataclass(frozen=True)
class Flatten:
    """Each example as one vector: ``[N, H, W, C]`` to ``[N, H * W * C]``."""

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        return {}, {}

    def apply(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        return x.reshape(x.shape[0], prod(x.shape[1:])), {}


def _check_vectors(shape: Shape) -> None:
    if len(shape) != 2:
        raise ValueError(
            f"Dense takes vectors [N, D], x has shape {list(shape)}: put Flatten or GlobalAveragePool first"
        )
