"""Adam and its variants."""

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


def adam(
    schedule: optax.Schedule,
    *,
    learning_rate: LearningRate = 0.003,
    weight_decay: WeightDecay = 0.0,
    clip_norm: ClipNorm = None,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    epsilon: Epsilon = 1e-8,
) -> optax.GradientTransformation:
    r"""Return Adam, which divides an average of the gradients by the root of an average of their squares.

    With the gradient $g_t$, the weight decay $\lambda$ (of kernels), the decays $\beta_1$ and $\beta_2$, the
    learning rate $\alpha$ and its factor $s_t$; $m_0 = v_0 = 0$:

    $$
    h_t = g_t + \lambda \theta_{t-1}, \qquad
    m_t = \beta_1 m_{t-1} + (1 - \beta_1) h_t, \qquad
    v_t = \beta_2 v_{t-1} + (1 - \beta_2) h_t^2
    $$

    $$
    \theta_t = \theta_{t-1}
        - \alpha s_t \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}
    $$

    Args:
        schedule: function from a step to the factor of the learning rate.
        learning_rate: the largest learning rate.
        weight_decay: factor of the kernels that is added to their gradients.
        clip_norm: largest global norm of the gradients; `None` does not clip them.
        b1: decay of the average of the gradients, in [0, 1).
        b2: decay of the average of the squared gradients, in [0, 1).
        epsilon: number that is added to the root.

    Example:
        >>> import jax.numpy as jnp
        >>> params = {"kernel": jnp.ones(())}
        >>> optimizer = adam(lambda step: 1.0, learning_rate=0.5)
        >>> updates, _ = optimizer.update({"kernel": jnp.full((), 7.0)}, optimizer.init(params), params)
        >>> round(float(updates["kernel"]), 5)
        -0.5

    Source: Kingma & Ba (2015), Adam: a method for stochastic optimization, algorithm 1.
    """
    return chain(
        schedule, learning_rate, clip_norm, decay_kernels(weight_decay), optax.scale_by_adam(b1, b2, epsilon)
    )


def adamw(
    schedule: optax.Schedule,
    *,
    learning_rate: LearningRate = 0.003,
    weight_decay: WeightDecay = 0.01,
    clip_norm: ClipNorm = None,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    epsilon: Epsilon = 1e-8,
) -> optax.GradientTransformation:
    r"""Return AdamW, which is Adam with a weight decay that the averages of the gradients do not scale.

    With the gradient $g_t$, the weight decay $\lambda$ (of kernels), the decays $\beta_1$ and $\beta_2$, the
    learning rate $\alpha$ and its factor $s_t$; $m_0 = v_0 = 0$:

    $$
    m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \qquad
    v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2
    $$

    $$
    \theta_t = \theta_{t-1}
        - \alpha s_t \left(\frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}
        + \lambda \theta_{t-1}\right)
    $$

    Args:
        schedule: function from a step to the factor of the learning rate.
        learning_rate: the largest learning rate.
        weight_decay: factor of the kernels that is added to their updates.
        clip_norm: largest global norm of the gradients; `None` does not clip them.
        b1: decay of the average of the gradients, in [0, 1).
        b2: decay of the average of the squared gradients, in [0, 1).
        epsilon: number that is added to the root.

    Example:
        >>> import jax.numpy as jnp
        >>> params = {"kernel": jnp.ones(())}
        >>> optimizer = adamw(lambda step: 1.0, learning_rate=0.5, weight_decay=0.1)
        >>> updates, _ = optimizer.update({"kernel": jnp.full((), 7.0)}, optimizer.init(params), params)
        >>> round(float(updates["kernel"]), 5)
        -0.55

    Source: Loshchilov & Hutter (2019), Decoupled weight decay regularization, algorithm 2.
    """
    return chain(
        schedule, learning_rate, clip_norm, optax.scale_by_adam(b1, b2, epsilon), decay_kernels(weight_decay)
    )
