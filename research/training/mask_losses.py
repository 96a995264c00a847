"""Losses of whole masks, which compare the area of each class with the area in the labels.

They take the logits `[N, H, W, K]` of an image, and labels as every loss in `losses` does. With logits
`[N, K]`, an image has one pixel.
"""

from typing import Annotated

import jax
import jax.numpy as jnp
import optax

from research.training.objective import ClassWeights, soft_labels, wide
from research.utils.constraints import NonNegative, Positive

Smooth = Annotated[float, Positive]


def tversky(
    logits: jax.Array,
    labels: jax.Array,
    *,
    false_positives: Annotated[float, NonNegative] = 0.3,
    false_negatives: Annotated[float, NonNegative] = 0.7,
    smooth: Smooth = 1.0,
    class_weights: ClassWeights = None,
) -> jax.Array:
    r"""Return one minus the Tversky index of each mask, as a mean over the classes.

    With sums over the pixels $i$ of an example, and the weights $\alpha$ and $\beta$ of the errors:

    $$
    \ell = \frac{1}{K} \sum_k w_k \left(1 - \frac{I_k + s}
        {I_k + \alpha \sum_i p_{ik} (1 - q_{ik}) + \beta \sum_i (1 - p_{ik}) q_{ik} + s}\right), \qquad
    I_k = \sum_i p_{ik} q_{ik}
    $$

    Args:
        logits: the logits `[N, ..., K]`.
        labels: the classes `[N, ...]`, or soft labels `[N, ..., K]`.
        false_positives: weight of pixels that are wrongly given to a class.
        false_negatives: weight of pixels of a class that are missed.
        smooth: number that is added to both sides of the fraction.
        class_weights: factor of each class; `balanced`: N / (K * number of its examples).

    Returns:
        The losses `[N]`, in [0, 1] if there are no class weights.

    Example:
        >>> logits = jnp.array([[[[9.0, -9.0], [-9.0, 9.0]]]])
        >>> round(float(tversky(logits, jnp.array([[[0, 1]]]))[0]), 3)
        0.0

    Source: Salehi, Erdogmus & Gholipour (2017), Tversky loss function for image segmentation, equation 4.
    """
    logits = wide(logits)
    return optax.losses.dice_loss(
        logits,
        soft_labels(labels, logits),
        class_weights=None if class_weights is None else jnp.asarray(class_weights, logits.dtype),
        smooth=smooth,
        alpha=false_positives,
        beta=false_negatives,
    )


def dice(
    logits: jax.Array, labels: jax.Array, *, smooth: Smooth = 1.0, class_weights: ClassWeights = None
) -> jax.Array:
    """Return one minus the Dice coefficient of each mask: `tversky` with both errors weighted by 1/2.

    Args:
        logits: the logits `[N, ..., K]`.
        labels: the classes `[N, ...]`, or soft labels `[N, ..., K]`.
        smooth: number that is added to both sides of the fraction.
        class_weights: factor of each class; `balanced`: N / (K * number of its examples).

    Returns:
        The losses `[N]`, in [0, 1] if there are no class weights.

    Source: Milletari, Navab & Ahmadi (2016), V-Net, section 3.
    """
    weights = {"smooth": smooth, "class_weights": class_weights}
    return tversky(logits, labels, false_positives=0.5, false_negatives=0.5, **weights)


def iou(
    logits: jax.Array, labels: jax.Array, *, smooth: Smooth = 1.0, class_weights: ClassWeights = None
) -> jax.Array:
    """Return one minus the intersection over union of each mask: `tversky` with both errors weighted by 1.

    Args:
        logits: the logits `[N, ..., K]`.
        labels: the classes `[N, ...]`, or soft labels `[N, ..., K]`.
        smooth: number that is added to both sides of the fraction.
        class_weights: factor of each class; `balanced`: N / (K * number of its examples).

    Returns:
        The losses `[N]`, in [0, 1] if there are no class weights.

    Source: Rahman & Wang (2016), Optimizing intersection-over-union in deep neural networks for image
    segmentation, equation 3.
    """
    weights = {"smooth": smooth, "class_weights": class_weights}
    return tversky(logits, labels, false_positives=1.0, false_negatives=1.0, **weights)
