"""Memory for time: activations that are computed again for the gradient."""

from dataclasses import dataclass, replace

import jax

from research.layers.base import Array, Key, Params, Sequential, Shape, State
from research.layers.pool import AveragePool, MaxPool
from research.layers.residual import Residual


@dataclass(frozen=True)
class Remat:
    """A network that keeps for its gradient only what passes from one block to the next.

    A block ends with a residual block or a pool. Everything inside it is computed a second time, from the
    block's input, while the gradient is. Parameters, state, output and gradient are those of ``net``. XLA on
    the CPU joins the two computations again, so that nothing is saved there.

    Args:
        net: the network.

    Source: Chen et al. (2016), Training deep nets with sublinear memory cost.
    """

    net: Sequential

    def blocks(self) -> list[Sequential]:
        """The parts of the network, in order."""
        ends = [i for i, (_, layer) in enumerate(self.net.layers) if isinstance(layer, BLOCK_ENDS)]
        starts = [0, *(end + 1 for end in ends)]
        stops = [*starts[1:], len(self.net.layers)]
        return [
            replace(self.net, layers=self.net.layers[start:stop], first_index=start)
            for start, stop in zip(starts, stops, strict=True)
            if start < stop
        ]

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        return self.net.init(key, in_shape)

    def apply(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        new_state: State = {}
        for block in self.blocks():
            names = [name for name, _ in block.layers]
            own = [{name: tree[name] for name in names if name in tree} for tree in (params, state)]
            apply = jax.checkpoint(lambda p, s, x, k, block=block: block.apply(p, s, x, train=train, key=k))
            x, block_state = apply(*own, x, key)
            new_state |= block_state
        return x, new_state


BLOCK_ENDS = (Residual, MaxPool, AveragePool)
