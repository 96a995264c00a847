"""Batch normalisation as a part of the layer before it, which gives the same outputs in fewer operations."""

from dataclasses import replace
from typing import Any

import numpy as np

from research.layers import (
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseSeparableConv,
    Layer,
    Params,
    Residual,
    Sequential,
    State,
)


def fold_batch_norm(layer: Any, params: Params, state: State) -> tuple[Any, Params, State]:
    r"""Return a network without the batch normalisations that directly follow a convolution or a dense layer.

    $$
    K' = K \gamma / \sqrt{\sigma^2 + \epsilon},\quad
    b' = (b - \mu) \gamma / \sqrt{\sigma^2 + \epsilon} + \beta
    $$

    The result gives the outputs of the network outside of training, up to rounding. It cannot be trained
    further, since the statistics of batches are no longer computed.

    Args:
        layer: the network, or a layer of it. Only the layers inside `Sequential` and `Residual` are changed.
        params: its parameters.
        state: its state, with the running averages.

    Returns:
        The layer, its parameters and its state.

    Source: Jacob et al. (2018), Quantization and training of neural networks, section 3.2.
    """
    if isinstance(layer, Residual):
        folded = {
            name: fold_batch_norm(branch, params.get(name, {}), state.get(name, {}))
            for name, branch in layer.branches()
        }
        return replace(layer, **{name: new for name, (new, _, _) in folded.items()}), *_trees(folded)
    if not isinstance(layer, Sequential):
        return layer, params, state
    done: dict[str, tuple[Layer, Params, State]] = {}
    for name, inner in layer.layers:
        before = next(reversed(done), "")
        if isinstance(inner, BatchNorm) and isinstance(done.get(before, [None])[0], FOLDABLE):
            previous, its_params, its_state = done[before]
            its_params = _absorb(inner, params[name], state[name], its_params)
            done[before] = (replace(previous, use_bias=True), its_params, its_state)  # pyright: ignore
        else:
            done[name] = fold_batch_norm(inner, params.get(name, {}), state.get(name, {}))
    return Sequential(tuple((name, new) for name, (new, _, _) in done.items())), *_trees(done)


FOLDABLE = (Conv2D, DepthwiseSeparableConv, Dense)
"""The layers into which a batch normalisation that follows them is folded."""


def _trees(folded: dict[str, tuple[Any, Params, State]]) -> tuple[Params, State]:
    """Return the parameters and the state of a container; a layer without any has no entry."""
    params = {name: own for name, (_, own, _) in folded.items() if own}
    return params, {name: own for name, (_, _, own) in folded.items() if own}


def _absorb(norm: BatchNorm, params: Params, state: State, before: Params) -> Params:
    """Return the parameters of the layer before a batch normalisation, which then does the work of both."""
    if "pointwise" in before:  # a depthwise separable convolution ends with its pointwise part
        return {**before, "pointwise": _absorb(norm, params, state, before["pointwise"])}
    scale, offset, mean, variance = (
        np.asarray(array, np.float64)
        for array in (params["scale"], params["bias"], state["mean"], state["variance"])
    )
    factor = scale / np.sqrt(variance + norm.epsilon)
    kernel = np.asarray(before["kernel"], np.float64) * factor  # features are the last axis
    bias = (np.asarray(before.get("bias", 0), np.float64) - mean) * factor + offset
    return {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}
