"""Magnitude pruning: masks that keep the smallest parameters of a network at zero."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from research.layers import BatchNorm, Conv2D, Dense, Residual, Sequential
from research.layers.base import ParameterFree, by_path
from research.training.optimizers.chain import is_kernel
from research.training.state import TrainState, masked
from research.utils.nested import nested

Prune = Callable[[TrainState, int], TrainState]
"""`prune(state, epoch)` returns the state with which an epoch begins."""


@dataclass(frozen=True)
class ChannelGroup:
    """Arrays that hold the output channels of one layer, which can be removed together.

    Args:
        layer: the path of the layer whose output channels they are.
        norms: the paths of the batch normalisations between this layer and the next.
        reader: the path of the next convolution or dense layer; `""` if there is none.
    """

    layer: str
    norms: tuple[str, ...] = ()
    reader: str = ""


def channel_groups(layer: Any, path: str = "") -> Iterator[ChannelGroup]:
    """Yield the groups of channels of a network that can be removed without a change outside of the group.

    Such a group lies between two convolutions or dense layers of one `Sequential`. The channels that are
    added to a shortcut, those of grouped convolutions and the logits are in no group.

    Args:
        layer: the network, or a layer of it.
        path: the text before the name of each layer.
    """
    if isinstance(layer, Residual):
        for name, branch in layer.branches():
            yield from channel_groups(branch, f"{path}{name}/")
    if not isinstance(layer, Sequential):
        return
    group: ChannelGroup | None = None
    for name, inner in layer.layers:
        here = f"{path}{name}"
        if isinstance(inner, Dense) or (isinstance(inner, Conv2D) and inner.groups == 1):
            if group is not None:
                yield replace(group, reader=here)
            group = ChannelGroup(here)
        elif isinstance(inner, BatchNorm) and group is not None:
            group = replace(group, norms=(*group.norms, here))
        elif not isinstance(inner, ParameterFree):
            group = None
            yield from channel_groups(inner, f"{here}/")


def make_masks(net: Sequential, by: str) -> Callable[[Any, jax.Array], Any]:
    r"""Return a function that computes the masks with which a share of a network is pruned.

    `weight` prunes the numbers with the smallest magnitudes of all kernels together. `channel` prunes the
    output channels with the smallest sums of magnitudes of each layer in `channel_groups`, where at least one
    channel is kept. The mask of a channel also covers the weights by which the next layer multiplies it, so
    the network without the channel gives the same outputs.

    Args:
        net: the network.
        by: `weight` or `channel`.

    Returns:
        The function `masks(params, amount)`, where `amount` is the share that is pruned, a float32 scalar. A
        mask is true where a parameter is kept.

    Source: Han et al. (2015), Learning both weights and connections for efficient neural networks, section 3;
    for channels, Li et al. (2017), Pruning filters for efficient ConvNets, section 3.1.
    """

    def by_weight(params: Any, amount: jax.Array) -> Any:
        chosen = is_kernel(params)
        magnitudes = [
            jnp.abs(p).ravel() for p, c in zip(*map(jax.tree.leaves, (params, chosen)), strict=True) if c
        ]
        smallest_first = jnp.sort(jnp.concatenate(magnitudes))
        count = jnp.round(amount * smallest_first.size).astype(jnp.int32)
        threshold = jnp.where(count > 0, smallest_first[jnp.maximum(count, 1) - 1], -1.0)
        return jax.tree.map(
            lambda p, c: jnp.abs(p) > threshold if c else jnp.ones(p.shape, bool), params, chosen
        )

    def by_channel(params: Any, amount: jax.Array) -> Any:
        flat = by_path(params)
        masks = {path: jnp.ones(leaf.shape, bool) for path, leaf in flat.items()}
        for group in channel_groups(net):
            kernel = flat[f"{group.layer}/kernel"]
            sums = jnp.abs(kernel).sum(range(kernel.ndim - 1))
            rank = jnp.argsort(jnp.argsort(sums))
            kept = rank >= jnp.minimum(jnp.round(amount * sums.size).astype(jnp.int32), sums.size - 1)
            for path in masks:
                if path.rpartition("/")[0] in (group.layer, *group.norms):
                    masks[path] &= kept
            reader = f"{group.reader}/kernel"
            repeats = flat[reader].shape[-2] // kept.size  # the number of pixels that `Flatten` joins
            masks[reader] &= jnp.tile(kept, repeats)[:, None]
        return nested(masks, "/")

    return {"weight": by_weight, "channel": by_channel}[by]


def amount_at(epoch: int, amount: float, from_epoch: int, until_epoch: int) -> float:
    r"""Return the share that is pruned in an epoch.

    $$
    a_e = a \left(1 - \left(1 - \frac{e - e_0 + 1}{e_1 - e_0 + 1}\right)^3\right)
    $$

    Args:
        epoch: the epoch $e$, from $e_0$ to $e_1$.
        amount: the share $a$ in the end.
        from_epoch: the first epoch $e_0$ in which something is pruned.
        until_epoch: the first epoch $e_1$ in which the whole share is pruned.

    Example:
        >>> [round(amount_at(epoch, 0.8, 2, 4), 3) for epoch in (2, 3, 4)]
        [0.563, 0.77, 0.8]

    Source: Zhu & Gupta (2018), To prune, or not to prune, section 3.
    """
    progress = (epoch - from_epoch + 1) / (until_epoch - from_epoch + 1)
    return amount * (1 - (1 - progress) ** 3)


def make_prune(net: Sequential, *, amount: float, by: str, from_epoch: int, until_epoch: int) -> Prune:
    """Return a function that prunes the state of training at the beginning of an epoch.

    The training step keeps pruned parameters at zero. A parameter that is zero has the smallest magnitude, so
    it stays pruned in the next epochs.

    Args:
        net: the network.
        amount: the share that is pruned in the end.
        by: `weight` or `channel`; see `make_masks`.
        from_epoch: the first epoch in which something is pruned.
        until_epoch: the first epoch in which the whole share is pruned; see `amount_at`.
    """
    make = make_masks(net, by)

    def change(params: Any, share: jax.Array) -> Any:
        masks = make(params, share)
        return masked(params, masks), masks

    def prune(state: TrainState, epoch: int) -> TrainState:
        if not from_epoch <= epoch <= until_epoch:
            return state
        places = jax.tree.map(lambda leaf: leaf.sharding, (state.params, state.masks))
        compiled = jax.jit(change, out_shardings=places)
        share = jnp.float32(amount_at(epoch, amount, from_epoch, until_epoch))
        params, masks = compiled(state.params, share)
        return state._replace(params=params, masks=masks)

    return prune
