"""An activation function as a layer."""

from dataclasses import dataclass

from jaxtyping import Float

from research.layers.base import Array, Key, ParameterFree, Params, State
from research.ops.activation import ACTIVATIONS
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
        x: Float[Array, "*shape"],
        *,
        train: bool,
        key: Key | None = None,
    ) -> tuple[Float[Array, "*shape"], State]:
        """Return the activations of `x`, with its shape and dtype, and an empty state."""
        return lookup(ACTIVATIONS, self.name, "activation")(x), {}
