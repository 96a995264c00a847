"""A network that computes its activations again for the gradient, and so uses less memory but more time."""

from dataclasses import dataclass
from functools import partial

import jax
from jax.typing import ArrayLike

from research.layers.base import (
    Array,
    Key,
    Layer,
    Params,
    Sequential,
    Shape,
    State,
    fold_in_keys,
    trace_layer,
    with_keys,
)
from research.layers.pool import AveragePool, MaxPool
from research.layers.residual import Residual

Block = list[tuple[int, str, Layer]]
"""Layers that follow each other in a network, each with its position and its name there."""


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

    def blocks(self) -> list[Block]:
        """Return the blocks of the network in order."""
        blocks: list[Block] = [[]]
        for index, (name, layer) in enumerate(self.net.layers):
            blocks[-1].append((index, name, layer))
            if isinstance(layer, BLOCK_ENDS):
                blocks.append([])
        return [block for block in blocks if block]

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        """Return the parameters and the state of the network."""
        return self.net.init(key, in_shape)

    def apply(
        self, params: Params, state: State, x: ArrayLike, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        """Return the output and the new state of the network."""
        y = with_keys(x, key)
        new_state: State = {}
        for block in self.blocks():
            names = [name for _, name, _ in block]
            own = [{name: tree[name] for name in names if name in tree} for tree in (params, state)]
            y, block_state = jax.checkpoint(partial(apply_block, block, train))(*own, y, key)
            new_state |= block_state
        return y, new_state


BLOCK_ENDS = (Residual, MaxPool, AveragePool)


def apply_block(
    block: Block, train: bool, params: Params, state: State, x: Array, key: Key | None
) -> tuple[Array, State]:
    """Return the output and the new state of some layers of a network.

    The key of each layer is the one that it has in the network: its position there is folded into `key`.
    """
    new_state: State = {}
    for index, name, layer in block:
        keys = fold_in_keys(key, index)
        layer_state, traced = trace_layer(name, layer, params, state, x, train=train, key=keys)
        x = traced[name]
        new_state |= {name: layer_state} if layer_state else {}
    return x, new_state
