"""Optimizers by name, as chains of optax transformations whose numbers are data."""

from typing import Annotated, Any

import jax
import optax

from research.utils.constraints import NonNegative, Positive, Rate
from research.utils.lookup import lookup

Decay = Annotated[float, Rate]
Epsilon = Annotated[float, Positive]


def sgd() -> optax.GradientTransformation:
    """Stochastic gradient descent (Robbins & Monro 1951)."""
    return optax.identity()


def momentum(*, decay: Decay = 0.9) -> optax.GradientTransformation:
    """Heavy-ball momentum (Polyak 1964): ``m = decay * m + g``."""
    return optax.trace(decay)


def nesterov(*, decay: Decay = 0.9) -> optax.GradientTransformation:
    """Nesterov momentum in the form of Sutskever et al. (2013)."""
    return optax.trace(decay, nesterov=True)


def adagrad(*, epsilon: Epsilon = 1e-7) -> optax.GradientTransformation:
    """AdaGrad (Duchi, Hazan & Singer 2011)."""
    return optax.scale_by_rss(initial_accumulator_value=0.1, eps=epsilon)


def rmsprop(*, decay: Decay = 0.9, epsilon: Epsilon = 1e-8) -> optax.GradientTransformation:
    """RMSProp (Tieleman & Hinton 2012, lecture 6.5)."""
    return optax.scale_by_rms(decay, epsilon)


def adam(*, b1: Decay = 0.9, b2: Decay = 0.999, epsilon: Epsilon = 1e-8) -> optax.GradientTransformation:
    """Adam (Kingma & Ba 2015, algorithm 1)."""
    return optax.scale_by_adam(b1, b2, epsilon)


def adamw(*, b1: Decay = 0.9, b2: Decay = 0.999, epsilon: Epsilon = 1e-8) -> optax.GradientTransformation:
    """Adam whose weight decay is not scaled by the gradients' statistics (Loshchilov & Hutter 2019)."""
    return optax.scale_by_adam(b1, b2, epsilon)


OPTIMIZERS = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
}

DECOUPLED_WEIGHT_DECAY = frozenset({"adamw"})


def is_kernel(params: Any) -> Any:
    """A tree like ``params`` that is true at the leaves named ``kernel``: weight decay touches no other."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1] == jax.tree_util.DictKey("kernel"), params
    )


def make_optimizer(
    name: str,
    schedule: optax.Schedule,
    *,
    learning_rate: Annotated[float, Positive] = 3e-3,
    weight_decay: Annotated[float, NonNegative] = 0.0,
    clip_norm: Annotated[float, Positive] | None = None,
    **arguments: Any,
) -> optax.GradientTransformationExtraArgs:
    """Make an optimizer.

    Gradients are clipped, decayed, transformed, and scaled by ``-learning_rate * schedule(step)``.
    ``adamw`` decays after its transformation, the others before it.

    Args:
        name: a name of ``OPTIMIZERS``.
        schedule: factor of the learning rate at a step, in [0, 1].
        learning_rate: peak learning rate; data in ``opt_state.hyperparams``, not part of the program.
        weight_decay: factor of the kernels that is added to their gradients (or updates); data, too.
        clip_norm: largest global norm of the gradients; ``None`` does not clip.
        arguments: numbers of the named optimizer.

    Raises:
        ValueError: unknown name.

    Example:
        >>> import jax.numpy as jnp
        >>> from research.training.schedules import SCHEDULES
        >>> optimizer = make_optimizer("sgd", SCHEDULES["constant"](10), learning_rate=0.5)
        >>> params = {"kernel": jnp.ones(())}
        >>> updates, _ = optimizer.update({"kernel": jnp.ones(())}, optimizer.init(params), params)
        >>> float(updates["kernel"])
        -0.5
    """
    transform = lookup(OPTIMIZERS, name, "optimizer")(**arguments)

    def chain(learning_rate: Any, weight_decay: Any) -> optax.GradientTransformation:
        decay = optax.add_decayed_weights(weight_decay, mask=is_kernel)
        return optax.chain(
            optax.identity() if clip_norm is None else optax.clip_by_global_norm(clip_norm),
            *((transform, decay) if name in DECOUPLED_WEIGHT_DECAY else (decay, transform)),
            optax.scale_by_schedule(schedule),
            optax.scale_by_learning_rate(learning_rate),
        )

    return optax.inject_hyperparams(chain)(learning_rate=learning_rate, weight_decay=weight_decay)


RATES = ("learning_rate", "weight_decay")
"""Arguments of ``make_optimizer`` that are data of the optimizer's state and not part of the program."""


def set_rates(opt_state: Any, *, learning_rate: jax.Array, weight_decay: jax.Array) -> Any:
    """The state of an optimizer of ``make_optimizer`` with other rates, float32 ``[]``."""
    return opt_state._replace(hyperparams={"learning_rate": learning_rate, "weight_decay": weight_decay})
