"""Removal of the channels that a network does not use, and pruning of a network that is trained already."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from research.layers import Params, Sequential, State
from research.layers.base import by_path
from research.layers.rewrite import rewrite_by_path
from research.runs.load import TrainedNetwork
from research.training.pruning import channel_groups, make_masks
from research.training.state import masked
from research.utils.nested import nested


def remove_channels(net: Sequential, params: Params, state: State) -> tuple[Sequential, Params, State]:
    """Return a network without the channels that the next layer multiplies by zero.

    The result gives the same outputs, up to rounding. At least one channel of each layer is kept. A network
    without such channels is returned as it is.

    Args:
        net: the network.
        params: its parameters.
        state: its state.
    """
    arrays: dict[str, Any] = {path: np.asarray(leaf) for path, leaf in by_path(params).items()}
    averages: dict[str, Any] = {path: np.asarray(leaf) for path, leaf in by_path(state).items()}
    features: dict[str, int] = {}
    for group in channel_groups(net):
        count, reader = arrays[f"{group.layer}/kernel"].shape[-1], f"{group.reader}/kernel"
        kernel = arrays[reader]
        parts = kernel.reshape(*kernel.shape[:-2], -1, count, kernel.shape[-1])
        used = (parts != 0).any(axis=(*range(parts.ndim - 2), parts.ndim - 1))
        used[0] |= not used.any()
        if used.all():
            continue
        features[group.layer] = int(used.sum())
        arrays[reader] = parts[..., used, :].reshape(*kernel.shape[:-2], -1, kernel.shape[-1])
        for tree in (arrays, averages):
            for path in tree:
                if path.rpartition("/")[0] in (group.layer, *group.norms):
                    tree[path] = tree[path][..., used]
    if not features:
        return net, params, state
    smaller = rewrite_by_path(
        net, lambda path, layer: replace(layer, features=features[path]) if path in features else layer
    )
    return smaller, nested(arrays, "/"), nested(averages, "/")


def prune_trained(trained: TrainedNetwork, amount: float, by: str = "weight") -> TrainedNetwork:
    """Return a trained network after magnitude pruning, without further training.

    Args:
        trained: the network.
        amount: the share that is pruned, in [0, 1).
        by: `weight` or `channel`; see `training.pruning.make_masks`.
    """
    masks = jax.jit(make_masks(trained.net, by))(trained.params, jnp.float32(amount))
    return trained._replace(params=masked(trained.params, masks))
