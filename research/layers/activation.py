"""An activation function as a layer."""

from dataclasses import dataclass

from research.layers.base import Array, Key, Params, Shape, State
from research.ops.activation import ACTIVATIONS
from research.utils.lookup import lookup


@dataclass(frozen=True)
class Activation:
    """The activation function called ``name`` in ``ACTIVATIONS``, on each number alone.

    Raises:
        ValueError: the name is unknown.
    """

    name: str = "relu"

    def __post_init__(self) -> None:
        lookup(ACTIVATIONS, self.name, "activation")

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        return {}, {}

    def apply(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        return lookup(ACTIVATIONS, self.name, "activation")(x), {}
