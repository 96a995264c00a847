"""Averages of the parameters and of the model state over the steps or epochs of a run."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

Weight = Callable[[jax.Array], jax.Array]
"""A function of the number of steps so far, int32 `[]`, that returns the weight of the newest parameters in
the average, float32 `[]`."""


def towards(new: Any, mean: Any, weight: jax.Array) -> Any:
    """Return the average in which the newest values have a weight; equal values keep their bits.

    Args:
        new: the newest values, a tree of arrays.
        mean: the average before.
        weight: the weight of the newest values, in [0, 1].
    """
    moved: Any = optax.incremental_update(new, mean, weight)
    return jax.tree.map(lambda m, old, each: jnp.where(old == each, each, m), moved, mean, new)


def ema(decay: float) -> Weight:
    r"""Return the weight of an exponential moving average without a bias towards the first parameters.

    After step $t$, counted from 1, the average of the parameters $\theta$ is

    $$
    a_t = (1 - w_t) a_{t-1} + w_t \theta_t, \qquad w_t = \frac{1 - \beta}{1 - \beta^t}
    $$

    which is the sum of $\beta^{t-i} \theta_i$, divided by the sum of its weights.

    Args:
        decay: the factor $\beta$ of the weight of each earlier step, in [0, 1).

    Example:
        >>> [round(float(ema(0.5)(jnp.int32(t))), 3) for t in (1, 2, 3)]
        [1.0, 0.667, 0.571]

    Source: Polyak & Juditsky (1992), Acceleration of stochastic approximation by averaging; the correction of
    the bias is that of Kingma & Ba (2015), Adam, section 3.
    """
    log_decay = math.log(decay) if decay else -math.inf
    return lambda step: (1 - decay) / -jnp.expm1(log_decay * step)  # 1 - decay**step would lose its digits


def swa(first_epoch: int, steps_per_epoch: int) -> Weight:
    """Return the weight of the mean of the parameters at the ends of epochs.

    Before the end of the first epoch that counts, the average is the newest parameters.

    Args:
        first_epoch: the first epoch whose end counts, from 1.
        steps_per_epoch: the number of training steps of an epoch.

    Example:
        >>> [float(swa(2, 10)(jnp.int32(t))) for t in (5, 10, 20, 25, 30, 40)]
        [1.0, 1.0, 1.0, 0.0, 0.5, 0.3333333432674408]

    Source: Izmailov et al. (2018), Averaging weights leads to wider optima and better generalization,
    algorithm 1.
    """

    def weight(step: jax.Array) -> jax.Array:
        count = step // steps_per_epoch - first_epoch + 1  # epochs that count so far
        at_end = step % steps_per_epoch == 0
        return jnp.where(count < 1, 1.0, jnp.where(at_end, 1 / jnp.maximum(count, 1), 0.0))

    return weight
