"""Mixing of each example of a batch with a partner, which may be on another device."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from research.training.collectives import gather, position
from research.training.objective import soft_labels, wide
from research.training.state import Batch

DrawWeights = Callable[[jax.Array, int, int], jax.Array]
"""`draw(key, height, width)` returns the weights `[H, W, 1]` of the image itself; see `data.Mixing`."""

MIXING = 2**31 - 1
"""The number with which the key of a step is folded for mixing. No example has this position."""


class Mixture(NamedTuple):
    """What each example of a part of a batch is mixed with.

    Args:
        partners: the partners, with images `[N, H, W, C]` and labels `[N]`.
        keys: the typed keys `[N]` of the partners, with which their images are augmented.
        weights: the weights of the examples themselves, float32 `[N, H, W, 1]`.
    """

    partners: Batch
    keys: jax.Array
    weights: jax.Array


def draw_mixture(
    draw_weights: DrawWeights, step_key: jax.Array, batch: Batch, axis_name: str | None
) -> Mixture:
    """Return the partners of the examples on this device, drawn from the batch of all devices.

    The partners are a permutation of the batch, so each example is the partner of one other, or of itself.

    Args:
        draw_weights: draws the weights, which all examples of a batch share.
        step_key: the typed key of the step.
        batch: the examples on this device.
        axis_name: the axis over which the batch is split, or `None`.
    """
    for_partners, for_weights = jax.random.split(jax.random.fold_in(step_key, MIXING))
    everyone = gather(batch, axis_name)
    order = jax.random.permutation(for_partners, len(everyone.labels))
    count, height, width, _ = batch.images.shape
    positions = jax.lax.dynamic_slice_in_dim(order, position(axis_name) * count, count)
    weights = draw_weights(for_weights, height, width)
    return Mixture(
        Batch(everyone.images[positions], everyone.labels[positions]),
        jax.vmap(jax.random.fold_in, in_axes=(None, 0))(step_key, positions),
        jnp.broadcast_to(weights, (count, height, width, 1)),
    )


def mix_images(images: jax.Array, partners: jax.Array, weights: jax.Array) -> jax.Array:
    """Return the mixed images `[N, H, W, C]`.

    Args:
        images: the input of the network `[N, H, W, C]`.
        partners: the same of the partners.
        weights: the weights of `images`, `[N, H, W, 1]`.
    """
    weights = weights.astype(images.dtype)
    return weights * images + (1 - weights) * partners


def mix_labels(labels: jax.Array, partners: jax.Array, weights: jax.Array, logits: jax.Array) -> jax.Array:
    """Return the soft labels `[N, K]` of mixed images.

    Args:
        labels: the classes `[N]`.
        partners: the classes of the partners `[N]`.
        weights: the weights of the images `[N, H, W, 1]`; the share of a label is their mean.
        logits: the logits `[N, K]`, which say how many classes there are.
    """
    logits = wide(logits)
    share = weights.mean(axis=(1, 2)).astype(logits.dtype)
    return share * soft_labels(labels, logits) + (1 - share) * soft_labels(partners, logits)
