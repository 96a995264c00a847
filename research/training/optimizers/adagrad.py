"""AdaGrad and RMSProp, which divide gradients by the root of a sum of their squares."""

from typing import Annotated

import optax

from research.training.optimizers.chain import (
    ClipNorm,
    Decay,
    Epsilon,
    LearningRate,
    WeightDecay,
    chain,
    decay_kernels,
)
from research.utils.constraints import NonNegative


def adagrad(
    schedule: optax.Schedule,
    *,
    learning_rate: LearningRate = 0.03,
    weight_decay: WeightDecay = 0.0,
    clip_norm: ClipNorm = None,
    epsilon: Epsilon = 1e-7,
    initial_accumulator: Annotated[float, NonNegative] = 0.0,
) -> optax.GradientTransformation:
    r"""Return AdaGrad, which divides by the root of the sum of all squared gradients.

    With the gradient $g_t$, the weight decay $\lambda$ (of kernels), the learning rate $\alpha$ and its
    factor $s_t$; $v_0$ is the same number for each parameter, which is 0 in the paper:

    $$
    h_t = g_t + \lambda \theta_{t-1}, \qquad
    v_t = v_{t-1} + h_t^2, \qquad
    \theta_t = \theta_{t-1} - \alpha s_t \frac{h_t}{\sqrt{v_t + \epsilon}}
    $$

    Args:
        schedule: function from a step to the factor of the learning rate.
        learning_rate: the largest learning rate.
        weight_decay: factor of the kernels that is added to their gradients.
        clip_norm: largest global norm of the gradients; `None` does not clip them.
        epsilon: number that is added under the root.
        initial_accumulator: the sum of squared gradients $v_0$ before the first step. A positive number makes
            the first updates smaller; optax, PyTorch and Keras differ in its default.

    Example:
        >>> import jax.numpy as jnp
        >>> params = {"kernel": jnp.ones(())}
        >>> optimizer = adagrad(lambda step: 1.0, learning_rate=0.1)
        >>> updates, _ = optimizer.update({"kernel": jnp.full((), 0.5)}, optimizer.init(params), params)
        >>> round(float(updates["kernel"]), 5)
        -0.1

    Source: Duchi, Hazan & Singer (2011), Adaptive subgradient methods for online learning and stochastic
    optimization.
    """
    return chain(
        schedule,
        learning_rate,
        clip_norm,
        decay_kernels(weight_decay),
        optax.scale_by_rss(initial_accumulator, epsilon),
    )


def rmsprop(
    schedule: optax.Schedule,
    *,
    learning_rate: LearningRate = 0.001,
    weight_decay: WeightDecay = 0.0,
    clip_norm: ClipNorm = None,
    decay: Decay = 0.9,
    epsilon: Epsilon = 1e-8,
) -> optax.GradientTransformation:
    r"""Return RMSProp, which divides by the root of an average of the squared gradients.

    With the gradient $g_t$, the weight decay $\lambda$ (of kernels), the decay $\beta$, the learning rate
    $\alpha$ and its factor $s_t$; $v_0 = 0$:

    $$
    h_t = g_t + \lambda \theta_{t-1}, \qquad
    v_t = \beta v_{t-1} + (1 - \beta) h_t^2, \qquad
    \theta_t = \theta_{t-1} - \alpha s_t \frac{h_t}{\sqrt{v_t + \epsilon}}
    $$

    Args:
        schedule: function from a step to the factor of the learning rate.
        learning_rate: the largest learning rate.
        weight_decay: factor of the kernels that is added to their gradients.
        clip_norm: largest global norm of the gradients; `None` does not clip them.
        decay: factor of the previous average, in [0, 1).
        epsilon: number that is added under the root.

    Example:
        >>> import jax.numpy as jnp
        >>> params = {"kernel": jnp.ones(())}
        >>> optimizer = rmsprop(lambda step: 1.0, learning_rate=1.0, decay=0.75)
        >>> updates, _ = optimizer.update({"kernel": jnp.ones(())}, optimizer.init(params), params)
        >>> round(float(updates["kernel"]), 5)
        -2.0

    Source: Tieleman & Hinton (2012), Neural networks for machine learning, lecture 6.5.
    """
    return chain(
        schedule, learning_rate, clip_norm, decay_kernels(weight_decay), optax.scale_by_rms(decay, epsilon)
    )
