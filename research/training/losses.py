r"""Losses by name: functions of logits and labels that return the loss of each example.

The labels are the numbers of the classes, or soft labels: one probability $q_k$ for each class $k$, as mixup,
cutmix and distillation make them. Every loss takes both. With the logits $z$ of an example, the probabilities
are $p = \mathrm{softmax}(z)$.

The logits of images have the shape `[N, K]`. The logits of masks have the shape `[N, H, W, K]`, and the loss
of an example is then the mean over its pixels. `dice`, `iou` and `tversky` compare the whole mask instead.
Losses have the dtype float32, or a wider dtype of the logits.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import optax

from research.training.distillation import distillation
from research.training.mask_losses import Smooth, dice, iou, tversky
from research.training.objective import ClassWeights, Objective, is_soft, soft_labels, wide
from research.utils.constraints import Fraction, NonNegative, Rate
from research.utils.strict import Functions, Named


def cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    *,
    label_smoothing: Annotated[float, Rate] = 0.0,
    class_weights: ClassWeights = None,
) -> jax.Array:
    r"""Return the cross-entropy of each example.

    $$
    \ell = -\sum_k q'_k \log p_k, \qquad q'_k = (1 - \epsilon) q_k + \epsilon / K
    $$

    Args:
        logits: the logits `[N, ..., K]`.
        labels: the classes `[N, ...]`, or soft labels `[N, ..., K]`.
        label_smoothing: share of the probability that is spread evenly over all classes.
        class_weights: factor of the loss of each class; `balanced`: N / (K * number of its examples).

    Returns:
        The losses `[N]` in nats.

    Example:
        >>> float(cross_entropy(jnp.zeros((1, 2)), jnp.array([0]))[0])  # log 2
        0.6931471824645996

    Source: for label smoothing, Szegedy et al. (2016), Rethinking the Inception architecture for computer
    vision, section 7.
    """
    logits = wide(logits)
    if not label_smoothing and not is_soft(labels, logits):
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    else:
        targets = optax.smooth_labels(soft_labels(labels, logits), label_smoothing)
        losses = optax.softmax_cross_entropy(logits, targets.astype(logits.dtype))
    return _per_example(losses, logits, labels, class_weights)


def focal(
    logits: jax.Array,
    labels: jax.Array,
    *,
    gamma: Annotated[float, NonNegative] = 2.0,
    alpha: Annotated[float, Fraction] | None = None,
    class_weights: ClassWeights = None,
) -> jax.Array:
    r"""Return the focal loss of each example, in which examples that are classified well count less.

    It is a sum over the classes, each of which is a decision of its own with $s_k = \mathrm{sigmoid}(z_k)$:

    $$
    \ell = \sum_k \alpha_k (1 - t_k)^\gamma\, (-q_k \log s_k - (1 - q_k) \log(1 - s_k)), \qquad
    t_k = q_k s_k + (1 - q_k)(1 - s_k)
    $$

    Here $\alpha_k = \alpha q_k + (1 - \alpha)(1 - q_k)$. With $\gamma = 0$ and without $\alpha$ it is
    `binary_cross_entropy`.

    Args:
        logits: the logits `[N, ..., K]`.
        labels: the classes `[N, ...]`, or soft labels `[N, ..., K]`.
        gamma: exponent that reduces the loss of examples that are classified well.
        alpha: weight of the right class; the other classes have 1 - alpha. null: all have the weight 1.
        class_weights: factor of the loss of each class; `balanced`: N / (K * number of its examples).

    Returns:
        The losses `[N]` in nats.

    Example:
        >>> round(float(focal(jnp.zeros((1, 2)), jnp.array([0]))[0]), 5)  # 2 * 0.25 * log 2
        0.34657

    Source: Lin et al. (2017), Focal loss for dense object detection, equation 5.
    """
    logits = wide(logits)
    losses = optax.losses.sigmoid_focal_loss(logits, soft_labels(labels, logits), alpha=alpha, gamma=gamma)
    return _per_example(losses.sum(-1), logits, labels, class_weights)


def mse(logits: jax.Array, labels: jax.Array, *, class_weights: ClassWeights = None) -> jax.Array:
    r"""Return the mean squared error of the probabilities of each example.

    $$
    \ell = \frac{1}{K} \sum_k (p_k - q_k)^2
    $$

    Args:
        logits: the logits `[N, ..., K]`.
        labels: the classes `[N, ...]`, or soft labels `[N, ..., K]`.
        class_weights: factor of the loss of each class; `balanced`: N / (K * number of its examples).

    Returns:
        The losses `[N]`.

    Example:
        >>> float(mse(jnp.zeros((1, 2)), jnp.array([0]))[0])
        0.25

    Source: Brier (1950), Verification of forecasts expressed in terms of probability.
    """
    logits = wide(logits)
    losses = jnp.square(jax.nn.softmax(logits) - soft_labels(labels, logits)).mean(-1)
    return _per_example(losses, logits, labels, class_weights)


def binary_cross_entropy(
    logits: jax.Array, labels: jax.Array, *, class_weights: ClassWeights = None
) -> jax.Array:
    r"""Return the sum over the classes of the binary cross-entropy, for each example.

    Each class is a decision of its own, with $s_k = \mathrm{sigmoid}(z_k)$:

    $$
    \ell = \sum_k -q_k \log s_k - (1 - q_k) \log(1 - s_k)
    $$

    Args:
        logits: the logits `[N, ..., K]`.
        labels: the classes `[N, ...]`, or soft labels `[N, ..., K]`.
        class_weights: factor of the loss of each class; `balanced`: N / (K * number of its examples).

    Returns:
        The losses `[N]` in nats.

    Example:
        >>> round(float(binary_cross_entropy(jnp.zeros((1, 2)), jnp.array([0]))[0]), 5)  # 2 log 2
        1.38629

    Source: Wightman, Touvron & Jégou (2021), ResNet strikes back, section 2.
    """
    logits = wide(logits)
    losses = optax.sigmoid_binary_cross_entropy(logits, soft_labels(labels, logits)).sum(-1)
    return _per_example(losses, logits, labels, class_weights)


def poly(
    logits: jax.Array,
    labels: jax.Array,
    *,
    epsilon: Annotated[float, NonNegative] = 2.0,
    class_weights: ClassWeights = None,
) -> jax.Array:
    r"""Return the loss Poly-1, which adds a multiple of the first term of its series to the cross-entropy.

    $$
    \ell = -\sum_k q_k \log p_k + \epsilon \sum_k q_k (1 - p_k)
    $$

    Args:
        logits: the logits `[N, ..., K]`.
        labels: the classes `[N, ...]`, or soft labels `[N, ..., K]`.
        epsilon: factor of the added term.
        class_weights: factor of the loss of each class; `balanced`: N / (K * number of its examples).

    Returns:
        The losses `[N]`.

    Example:
        >>> round(float(poly(jnp.zeros((1, 2)), jnp.array([0]))[0]), 5)  # log 2 + 2 * 0.5
        1.69315

    Source: Leng et al. (2022), PolyLoss: a polynomial expansion perspective of classification loss functions,
    equation 6.
    """
    logits = wide(logits)
    losses = optax.losses.poly_loss_cross_entropy(logits, soft_labels(labels, logits), epsilon=epsilon)
    return _per_example(losses, logits, labels, class_weights)


def cross_entropy_dice(
    logits: jax.Array,
    labels: jax.Array,
    *,
    dice_weight: Annotated[float, NonNegative] = 1.0,
    smooth: Smooth = 1.0,
    class_weights: ClassWeights = None,
) -> jax.Array:
    """Return the cross-entropy plus a multiple of the Dice loss of each mask.

    Args:
        logits: the logits `[N, ..., K]`.
        labels: the classes `[N, ...]`, or soft labels `[N, ..., K]`.
        dice_weight: factor of the Dice loss.
        smooth: number that is added to both sides of the fraction of the Dice loss.
        class_weights: factor of each class; `balanced`: N / (K * number of its examples).

    Returns:
        The losses `[N]`.

    Source: Isensee et al. (2021), nnU-Net, section Online methods.
    """
    first = cross_entropy(logits, labels, class_weights=class_weights)
    return first + dice_weight * dice(logits, labels, smooth=smooth, class_weights=class_weights)


TERMS: dict[str, Callable[..., jax.Array]] = {
    "cross_entropy": cross_entropy,
    "focal": focal,
    "mse": mse,
    "binary_cross_entropy": binary_cross_entropy,
    "poly": poly,
    "dice": dice,
    "iou": iou,
    "tversky": tversky,
    "cross_entropy_dice": cross_entropy_dice,
}
"""The losses of which `weighted_sum` may consist."""

CROSS_ENTROPY = Functions(TERMS).named("cross_entropy")
"""The cross-entropy with its defaults."""


def weighted_sum(
    logits: jax.Array,
    labels: jax.Array,
    *,
    terms: tuple[Annotated[Named, Functions(TERMS)], ...] = (CROSS_ENTROPY,),
    weights: tuple[Annotated[float, NonNegative], ...] = (1.0,),
) -> jax.Array:
    """Return the weighted sum of several losses of each example.

    Args:
        logits: the logits `[N, ..., K]`.
        labels: the classes `[N, ...]`, or soft labels `[N, ..., K]`.
        terms: the losses, each a mapping with its name and its arguments.
        weights: factors of the losses, one for each.

    Returns:
        The losses `[N]`.

    Raises:
        ValueError: there is not one weight for each loss.
    """
    losses = [w * make_loss(term)(logits, labels) for term, w in zip(terms, weights, strict=True)]
    return jnp.stack(losses).sum(0)


LOSSES: dict[str, Callable[..., jax.Array]] = TERMS | {
    "weighted_sum": weighted_sum,
    "distillation": distillation,
}
"""Functions of logits, labels and keywords, which return the loss of each example. `distillation` also takes
the logits of the teacher."""


def make_loss(loss: Named) -> Objective:
    """Return the loss of that name with its arguments, as a function of logits and labels."""
    return partial(LOSSES[loss.name], **loss.arguments)


def resolve(loss: Named, labels: np.ndarray, num_classes: int) -> Named:
    """Return a loss with numbers in place of the class weights `balanced`.

    A class without examples has the weight 0.

    Args:
        loss: the name and the arguments of the loss.
        labels: the classes of the training split, int `[N]`.
        num_classes: the number of classes.

    Raises:
        ValueError: the number of class weights is not that of the classes, or the number of weights of a sum
            is not that of its losses. The message names the key.

    Example:
        >>> resolve(Named("mse", (("class_weights", "balanced"),)), np.array([0, 0, 1, 1, 1, 1]), 2).arguments
        {'class_weights': (1.5, 0.75)}
    """
    arguments = loss.arguments
    if loss.name == "weighted_sum":
        terms, weights = arguments["terms"], arguments["weights"]
        if not terms or len(terms) != len(weights):
            raise ValueError(
                f"loss.weights={list(weights)} is not allowed; give one number for each of the {len(terms)} "
                "losses in loss.terms, of which there must be at least one"
            )
        arguments["terms"] = tuple(resolve(term, labels, num_classes) for term in terms)
    else:
        class_weights = arguments.get("class_weights")
        if class_weights == "balanced":
            counts = np.bincount(labels, minlength=num_classes)
            shares = counts * num_classes / len(labels)
            arguments["class_weights"] = tuple(float(1 / share) if share else 0.0 for share in shares)
        elif class_weights is not None and len(class_weights) != num_classes:
            raise ValueError(
                f"loss.class_weights={list(class_weights)} is not allowed; give balanced, null or one number "
                f"for each of the {num_classes} classes"
            )
    return Named(loss.name, tuple(sorted(arguments.items())))


def _per_example(
    losses: jax.Array, logits: jax.Array, labels: jax.Array, class_weights: ClassWeights
) -> jax.Array:
    """Return the mean over the pixels of each example, after weighting each pixel by its class."""
    if class_weights is not None:
        losses = losses * (soft_labels(labels, logits) @ jnp.asarray(class_weights, logits.dtype))
    return losses.mean(range(1, losses.ndim)) if losses.ndim > 1 else losses
