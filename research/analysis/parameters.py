"""The number of parameters of a network."""

from math import prod

import jax

from research.layers import Params


def count_parameters(params: Params) -> int:
    """Return the number of elements of all arrays in `params`, which may be abstract.

    Example:
        >>> from research.layers import Dense
        >>> from research.layers.base import abstract_init
        >>> count_parameters(abstract_init(Dense(10), (1, 784))[0])
        7850
    """
    return sum(prod(leaf.shape) for leaf in jax.tree.leaves(params))
