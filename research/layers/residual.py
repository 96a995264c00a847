"""A layer whose input is added to its output."""

from dataclasses import dataclass

from jax.typing import ArrayLike

from research.layers.base import (
    Array,
    Key,
    Layer,
    Params,
    Shape,
    State,
    init_branches,
    out_shape,
    trace_branches,
    with_keys,
)


@dataclass(frozen=True)
class Residual:
    """Add the output of a layer and its input, or the outputs of two layers.

    $$
    y = f(x) + g(x)
    $$

    Parameters and state are dicts with the entries `body` for f and `shortcut` for g. A layer without
    parameters or state has no entry.

    Args:
        body: the layer f.
        shortcut: the layer g, which is the identity if not given.

    Raises:
        ValueError: body and shortcut return different shapes.

    Source: He et al. (2016), Deep residual learning, section 3.2.
    """

    body: Layer
    shortcut: Layer | None = None

    def branches(self) -> tuple[tuple[str, Layer], ...]:
        """Return the named layers whose outputs are added. An identity shortcut is not among them."""
        shortcut = () if self.shortcut is None else (("shortcut", self.shortcut),)
        return (("body", self.body), *shortcut)

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        """Return the parameters and the state of body and shortcut.

        Raises:
            ValueError: body and shortcut return different shapes.
        """
        params, state = init_branches(self.branches(), key, in_shape)
        out_shape(self, params, state, in_shape)
        return params, state

    def trace(
        self, params: Params, state: State, x: ArrayLike, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State, dict[str, Array]]:
        """Return what `apply` returns, and the outputs of body, shortcut and the layers in them by path."""
        x = with_keys(x, key)
        new_state, activations = trace_branches(self.branches(), params, state, x, train=train, key=key)
        y, shortcut = activations["body"], activations.get("shortcut", x)
        if y.shape != shortcut.shape:
            raise ValueError(
                f"body gives shape {list(y.shape)}, shortcut {list(shortcut.shape)} for x {list(x.shape)}"
            )
        return y + shortcut, new_state, activations

    def apply(
        self, params: Params, state: State, x: ArrayLike, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        """Return the sum of both outputs, and the new state of both layers."""
        y, new_state, _ = self.trace(params, state, x, train=train, key=key)
        return y, new_state
