"""Lion, whose updates are signs, and LAMB, whose updates are as long as the parameters."""

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


def lion(
    schedule: optax.Schedule,
    *,
    learning_rate: LearningRate = 0.0003,
    weight_decay: WeightDecay = 0.1,
    clip_norm: ClipNorm = None,
    b1: Decay = 0.9,
    b2: Decay = 0.99,
) -> optax.GradientTransformation:
    r"""Return Lion, which moves every parameter by the learning rate, up or down.

    With the gradient $g_t$, the weight decay $\lambda$ (of kernels), the decays $\beta_1$ and $\beta_2$, the
    learning rate $\alpha$ and its factor $s_t$; $m_0 = 0$:

    $$
    c_t = \operatorname{sign}(\beta_1 m_{t-1} + (1 - \beta_1) g_t), \qquad
    m_t = \beta_2 m_{t-1} + (1 - \beta_2) g_t
    $$

    $$
    \theta_t = \theta_{t-1} - \alpha s_t (c_t + \lambda \theta_{t-1})
    $$

    The paper recommends a learning rate that is 3 to 10 times smaller than that of AdamW, and a weight decay
    that is as many times larger.

    Args:
        schedule: function from a step to the factor of the learning rate.
        learning_rate: the largest learning rate.
        weight_decay: factor of the kernels that is added to their updates.
        clip_norm: largest global norm of the gradients; `None` does not clip them.
        b1: share of the average in the update, in [0, 1).
        b2: decay of the average of the gradients, in [0, 1).

    Example:
        >>> import jax.numpy as jnp
        >>> params = {"kernel": jnp.ones(())}
        >>> optimizer = lion(lambda step: 1.0, learning_rate=0.5)
        >>> updates, _ = optimizer.update({"kernel": jnp.full((), 7.0)}, optimizer.init(params), params)
        >>> round(float(updates["kernel"]), 5)
        -0.55

    Source: Chen et al. (2023), Symbolic discovery of optimization algorithms, algorithm 2.
    """
    return chain(schedule, learning_rate, clip_norm, optax.scale_by_lion(b1, b2), decay_kernels(weight_decay))


def lamb(
    schedule: optax.Schedule,
    *,
    learning_rate: LearningRate = 0.01,
    weight_decay: WeightDecay = 0.01,
    clip_norm: ClipNorm = None,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    epsilon: Epsilon = 1e-6,
) -> optax.GradientTransformation:
    r"""Return LAMB, which makes the update of each array as long as the array, for large batches.

    With the gradient $g_t$, the weight decay $\lambda$ (of kernels), the decays $\beta_1$ and $\beta_2$, the
    learning rate $\alpha$ and its factor $s_t$; $m_0 = v_0 = 0$:

    $$
    m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \qquad
    v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2
    $$

    $$
    u_t = \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon} + \lambda \theta_{t-1}, \qquad
    \theta_t = \theta_{t-1} - \alpha s_t \frac{\lVert\theta_{t-1}\rVert}{\lVert u_t \rVert} u_t
    $$

    The norms are those of one array, such as a kernel. The ratio is 1 where a norm is 0, so biases that start
    at 0 can move. The paper also bounds the norm of the parameters; optax does not.

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
        >>> params = {"kernel": jnp.full((), 4.0)}
        >>> optimizer = lamb(lambda step: 1.0, learning_rate=0.5)
        >>> updates, _ = optimizer.update({"kernel": jnp.full((), 7.0)}, optimizer.init(params), params)
        >>> round(float(updates["kernel"]), 5)
        -2.0

    Source: You et al. (2020), Large batch optimization for deep learning: training BERT in 76 minutes,
    algorithm 2.
    """
    return chain(
        schedule,
        learning_rate,
        clip_norm,
        optax.scale_by_adam(b1, b2, epsilon),
        decay_kernels(weight_decay),
        optax.scale_by_trust_ratio(),
    )
