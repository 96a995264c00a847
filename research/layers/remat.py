"""A network that computes its activations again for the gradient, and so uses less memory but more time."""

from dataclasses import dataclass, replace

import jax

from research.layers.base import Array, Key, Params, Sequential, Shape, State
from research.layers.pool import AveragePool, MaxPool
from research.layers.residual import Residual


@dataclass(frozen=True)
class Remat:
    """Apply a network, and keep for the gradient only what passes from one block to the next.

    A block ends with a residual block or a pool. What is inside a block is computed a second time, from the
    input of the block, when the gradient is computed. Parameters, state, output and gradient are those of
    `net`. On the CPU no memory is saved, since XLA merges the two computations there.

    Args:
        net: the network.

    Source: Chen et al. (2016), Training deep nets with sublinear memory cost.
    """

    net: Sequential

    def blocks(self) -> list[Sequential]:
        """Return the blocks of the network in order."""
        ends = [i for i, (_, layer) in enumerate(self.net.layers) if isinstance(layer, BLOCK_ENDS)]
        starts = [0, *(end + 1 for end in ends)]
        stops = [*starts[1:], len(self.net.layers)]
        return [
            replace(self.net, layers=self.net.layers[start:stop], first_index=start)
            for start, stop in zip(starts, stops, strict=True)
            if start < stop
        ]

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        """Return the parameters and the state of the network."""
        return self.net.init(key, in_shape)

    def apply(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        """Return the output and the new state of the network."""
        new_state: State = {}
        for block in self.blocks():
            names = [name for name, _ in block.layers]
            own = [{name: tree[name] for name in names if name in tree} for tree in (params, state)]
            apply = jax.checkpoint(lambda p, s, x, k, block=block: block.apply(p, s, x, train=train, key=k))
            x, block_state = apply(*own, x, key)
            new_state |= block_state
        return x, new_state


BLOCK_ENDS = (Residual, MaxPool, AveragePool)
