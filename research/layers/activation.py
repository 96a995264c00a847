"""An activation function as a layer."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Shaped

from research.layers.base import Array, Key, ParameterFree, Params, State
from research.ops.activation import ACTIVATIONS
from research.ops.precision import as_float
from research.utils.lookup import lookup


@dataclass(frozen=True)
class Activation(ParameterFree):
    """Apply an activation function to each element.

    Args:
        name: the name of the function in `ACTIVATIONS`.

    Raises:
        ValueError: the name is unknown.
    """

    name: str = "relu"

    def __post_init__(self) -> None:
        lookup(ACTIVATIONS, self.name, "activation")

    def apply(
        self,
        params: Params,
        state: State,
        x: Shaped[ArrayLike, "*shape"],
        *,
        train: bool,
        key: Key | None = None,
    ) -> tuple[Shaped[Array, "*shape"], State]:
        """Return the activations of `x`, with its shape and dtype, and an empty state.

        Raises:
            TypeError: `x` holds integers, and the function is not `relu`, which keeps them exact.
        """
        x = jnp.asarray(x) if self.name == "relu" else as_float(x)
        return lookup(ACTIVATIONS, self.name, "activation")(x), {}
