"""What the optimizers share: the types of their arguments, and the chain around them."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import optax

from research.utils.constraints import NonNegative, Positive, Rate

LearningRate = Annotated[float, Positive]
WeightDecay = Annotated[float, NonNegative]
ClipNorm = Annotated[float, Positive] | None
Decay = Annotated[float, Rate]
Epsilon = Annotated[float, Positive]


def is_kernel(params: Any) -> Any:
    """Return a tree like `params` that is true at the leaves named `kernel`."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1] == jax.tree_util.DictKey("kernel"), params
    )


def chain(
    schedule: optax.Schedule,
    learning_rate: Any,
    clip_norm: float | None,
    *parts: optax.GradientTransformation,
) -> optax.GradientTransformation:
    """Return clipping, then the parts, then the multiplication by the schedule and by the learning rate.

    Args:
        schedule: function from a step to the factor of the learning rate.
        learning_rate: the largest learning rate.
        clip_norm: largest global norm of the gradients; `None` does not clip them.
        *parts: transformations of the gradients, in order.
    """
    scale = optax.scale_by_learning_rate(learning_rate)
    return optax.chain(clip_gradients(clip_norm), *parts, optax.scale_by_schedule(schedule), scale)


class OnAll(NamedTuple):
    """A weight decay of all parameters. A number alone is a weight decay of kernels."""

    rate: Any


def rate_and_mask(weight_decay: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return the rate of a weight decay, and a function from parameters to whether each of them decays."""
    if isinstance(weight_decay, OnAll):
        return weight_decay.rate, partial(jax.tree.map, lambda _: True)
    return weight_decay, is_kernel


def decay_kernels(weight_decay: Any) -> optax.GradientTransformation:
    """Return the addition of the kernels, multiplied by the weight decay, to their updates.

    Args:
        weight_decay: the factor, or `OnAll(factor)`, which adds all parameters.
    """
    rate, mask = rate_and_mask(weight_decay)
    return optax.add_decayed_weights(rate, mask=mask)


def clip_gradients(clip_norm: float | None) -> optax.GradientTransformation:
    """Return the clipping of gradients to a global norm of at most `clip_norm`; `None` does not clip them."""
    return optax.identity() if clip_norm is None else optax.clip_by_global_norm(clip_norm)
