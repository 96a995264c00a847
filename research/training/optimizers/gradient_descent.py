"""Gradient descent, alone and with momentum."""

import optax

from research.training.optimizers.chain import (
    ClipNorm,
    Decay,
    LearningRate,
    WeightDecay,
    chain,
    decay_kernels,
)


def sgd(
    schedule: optax.Schedule,
    *,
    learning_rate: LearningRate = 0.1,
    weight_decay: WeightDecay = 0.0,
    clip_norm: ClipNorm = None,
) -> optax.GradientTransformation:
    r"""Return stochastic gradient descent.

    With the gradient $g_t$ of the parameters $\theta_{t-1}$, the learning rate $\alpha$, its factor $s_t$ and
    the weight decay $\lambda$, which is zero for all parameters but kernels:

    $$
    \theta_t = \theta_{t-1} - \alpha s_t (g_t + \lambda \theta_{t-1})
    $$

    Args:
        schedule: function from a step to the factor of the learning rate.
        learning_rate: the largest learning rate.
        weight_decay: factor of the kernels that is added to their gradients.
        clip_norm: largest global norm of the gradients; `None` does not clip them.

    Example:
        >>> import jax.numpy as jnp
        >>> params = {"kernel": jnp.ones(())}
        >>> optimizer = sgd(lambda step: 1.0, learning_rate=0.5)
        >>> updates, _ = optimizer.update({"kernel": jnp.ones(())}, optimizer.init(params), params)
        >>> float(updates["kernel"])
        -0.5

    Source: Robbins & Monro (1951), A stochastic approximation method.
    """
    return chain(schedule, learning_rate, clip_norm, decay_kernels(weight_decay), optax.identity())


def momentum(
    schedule: optax.Schedule,
    *,
    learning_rate: LearningRate = 0.03,
    weight_decay: WeightDecay = 0.0,
    clip_norm: ClipNorm = None,
    decay: Decay = 0.9,
) -> optax.GradientTransformation:
    r"""Return gradient descent with heavy-ball momentum.

    With the gradient $g_t$, the weight decay $\lambda$ (of kernels), the decay $\mu$, the learning rate
    $\alpha$ and its factor $s_t$; $m_0 = 0$:

    $$
    m_t = \mu m_{t-1} + g_t + \lambda \theta_{t-1}, \qquad
    \theta_t = \theta_{t-1} - \alpha s_t m_t
    $$

    Args:
        schedule: function from a step to the factor of the learning rate.
        learning_rate: the largest learning rate.
        weight_decay: factor of the kernels that is added to their gradients.
        clip_norm: largest global norm of the gradients; `None` does not clip them.
        decay: factor of the previous momentum, in [0, 1).

    Example:
        >>> import jax.numpy as jnp
        >>> params, grads = {"kernel": jnp.ones(())}, {"kernel": jnp.ones(())}
        >>> optimizer = momentum(lambda step: 1.0, learning_rate=0.5)
        >>> _, state = optimizer.update(grads, optimizer.init(params), params)
        >>> round(float(optimizer.update(grads, state, params)[0]["kernel"]), 5)
        -0.95

    Source: Polyak (1964), Some methods of speeding up the convergence of iteration methods.
    """
    return chain(schedule, learning_rate, clip_norm, decay_kernels(weight_decay), optax.trace(decay))


def nesterov(
    schedule: optax.Schedule,
    *,
    learning_rate: LearningRate = 0.03,
    weight_decay: WeightDecay = 0.0,
    clip_norm: ClipNorm = None,
    decay: Decay = 0.9,
) -> optax.GradientTransformation:
    r"""Return gradient descent with Nesterov momentum.

    With the gradient $g_t$, the weight decay $\lambda$ (of kernels), the decay $\mu$, the learning rate
    $\alpha$ and its factor $s_t$; $m_0 = 0$:

    $$
    h_t = g_t + \lambda \theta_{t-1}, \qquad
    m_t = \mu m_{t-1} + h_t, \qquad
    \theta_t = \theta_{t-1} - \alpha s_t (\mu m_t + h_t)
    $$

    Args:
        schedule: function from a step to the factor of the learning rate.
        learning_rate: the largest learning rate.
        weight_decay: factor of the kernels that is added to their gradients.
        clip_norm: largest global norm of the gradients; `None` does not clip them.
        decay: factor of the previous momentum, in [0, 1).

    Example:
        >>> import jax.numpy as jnp
        >>> params = {"kernel": jnp.ones(())}
        >>> optimizer = nesterov(lambda step: 1.0, learning_rate=0.5)
        >>> updates, _ = optimizer.update({"kernel": jnp.ones(())}, optimizer.init(params), params)
        >>> round(float(updates["kernel"]), 5)
        -0.95

    Source: Sutskever, Martens, Dahl & Hinton (2013), On the importance of initialization and momentum in deep
    learning, section 2.
    """
    return chain(
        schedule, learning_rate, clip_norm, decay_kernels(weight_decay), optax.trace(decay, nesterov=True)
    )
