"""AdaMax, Nadam and RAdam, which change one part of Adam."""

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
from research.utils.constraints import Between


def adamax(
    schedule: optax.Schedule,
    *,
    learning_rate: LearningRate = 0.002,
    weight_decay: WeightDecay = 0.0,
    clip_norm: ClipNorm = None,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    epsilon: Epsilon = 1e-8,
) -> optax.GradientTransformation:
    r"""Return AdaMax, which is Adam with a decaying maximum of the gradients in place of the root.

    With the gradient $g_t$, the weight decay $\lambda$ (of kernels), the decays $\beta_1$ and $\beta_2$, the
    learning rate $\alpha$ and its factor $s_t$; $m_0 = u_0 = 0$:

    $$
    h_t = g_t + \lambda \theta_{t-1}, \qquad
    m_t = \beta_1 m_{t-1} + (1 - \beta_1) h_t, \qquad
    u_t = \max(\beta_2 u_{t-1}, |h_t| + \epsilon)
    $$

    $$
    \theta_t = \theta_{t-1} - \alpha s_t \frac{m_t / (1 - \beta_1^t)}{u_t}
    $$

    The paper has no $\epsilon$. It divides by 0 where all gradients of a parameter so far are 0.

    Args:
        schedule: function from a step to the factor of the learning rate.
        learning_rate: the largest learning rate.
        weight_decay: factor of the kernels that is added to their gradients.
        clip_norm: largest global norm of the gradients; `None` does not clip them.
        b1: decay of the average of the gradients, in [0, 1).
        b2: decay of the maximum of the gradients, in [0, 1).
        epsilon: number that is added to the absolute gradient.

    Example:
        >>> import jax.numpy as jnp
        >>> params = {"kernel": jnp.ones(())}
        >>> optimizer = adamax(lambda step: 1.0, learning_rate=0.5)
        >>> updates, _ = optimizer.update({"kernel": jnp.full((), 7.0)}, optimizer.init(params), params)
        >>> round(float(updates["kernel"]), 5)
        -0.5

    Source: Kingma & Ba (2015), Adam: a method for stochastic optimization, algorithm 2.
    """
    return chain(
        schedule,
        learning_rate,
        clip_norm,
        decay_kernels(weight_decay),
        optax.scale_by_adamax(b1, b2, epsilon),
    )


def nadam(
    schedule: optax.Schedule,
    *,
    learning_rate: LearningRate = 0.003,
    weight_decay: WeightDecay = 0.0,
    clip_norm: ClipNorm = None,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    epsilon: Epsilon = 1e-8,
) -> optax.GradientTransformation:
    r"""Return Nadam, which is Adam with Nesterov momentum.

    With the gradient $g_t$, the weight decay $\lambda$ (of kernels), the decays $\beta_1$ and $\beta_2$, the
    learning rate $\alpha$ and its factor $s_t$; $m_0 = v_0 = 0$:

    $$
    h_t = g_t + \lambda \theta_{t-1}, \qquad
    m_t = \beta_1 m_{t-1} + (1 - \beta_1) h_t, \qquad
    v_t = \beta_2 v_{t-1} + (1 - \beta_2) h_t^2
    $$

    $$
    \hat{m}_t = \frac{\beta_1 m_t}{1 - \beta_1^{t+1}} + \frac{(1 - \beta_1) h_t}{1 - \beta_1^t}, \qquad
    \theta_t = \theta_{t-1} - \alpha s_t \frac{\hat{m}_t}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}
    $$

    Algorithm 2 of the paper also multiplies $v_t / (1 - \beta_2^t)$ by $\beta_2$; optax does not.

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
        >>> optimizer = nadam(lambda step: 1.0, learning_rate=1.0, b1=0.5)
        >>> updates, _ = optimizer.update({"kernel": jnp.full((), 7.0)}, optimizer.init(params), params)
        >>> round(float(updates["kernel"]), 4)
        -1.3333

    Source: Dozat (2016), Incorporating Nesterov momentum into Adam.
    """
    return chain(
        schedule,
        learning_rate,
        clip_norm,
        decay_kernels(weight_decay),
        optax.scale_by_adam(b1, b2, epsilon, nesterov=True),
    )


def radam(
    schedule: optax.Schedule,
    *,
    learning_rate: LearningRate = 0.003,
    weight_decay: WeightDecay = 0.0,
    clip_norm: ClipNorm = None,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    epsilon: Epsilon = 1e-8,
    threshold: Annotated[float, Between(4)] = 5.0,
) -> optax.GradientTransformation:
    r"""Return RAdam, which does not divide by the root until the average of the squares is reliable.

    With the gradient $g_t$, the weight decay $\lambda$ (of kernels), the decays $\beta_1$ and $\beta_2$, the
    learning rate $\alpha$, its factor $s_t$ and the threshold $\rho$; $m_0 = v_0 = 0$:

    $$
    h_t = g_t + \lambda \theta_{t-1}, \qquad
    m_t = \beta_1 m_{t-1} + (1 - \beta_1) h_t, \qquad
    v_t = \beta_2 v_{t-1} + (1 - \beta_2) h_t^2
    $$

    $$
    \rho_\infty = \frac{2}{1 - \beta_2} - 1, \qquad
    \rho_t = \rho_\infty - \frac{2 t \beta_2^t}{1 - \beta_2^t}, \qquad
    r_t = \sqrt{\frac{(\rho_t - 4) (\rho_t - 2) \rho_\infty}{(\rho_\infty - 4) (\rho_\infty - 2) \rho_t}}
    $$

    $$
    \theta_t = \theta_{t-1} - \alpha s_t \frac{m_t}{1 - \beta_1^t} \cdot \begin{cases}
    r_t / \left(\sqrt{v_t / (1 - \beta_2^t)} + \epsilon\right) & \rho_t \ge \rho \\
    1 & \text{otherwise}
    \end{cases}
    $$

    The paper has the threshold 4, and divides only where $\rho_t > 4$. optax has the threshold 5.

    Args:
        schedule: function from a step to the factor of the learning rate.
        learning_rate: the largest learning rate.
        weight_decay: factor of the kernels that is added to their gradients.
        clip_norm: largest global norm of the gradients; `None` does not clip them.
        b1: decay of the average of the gradients, in [0, 1).
        b2: decay of the average of the squared gradients, in [0, 1).
        epsilon: number that is added to the root.
        threshold: smallest $\rho_t$ with which the update is divided by the root; the paper has 4.

    Example:
        >>> import jax.numpy as jnp
        >>> params = {"kernel": jnp.ones(())}
        >>> optimizer = radam(lambda step: 1.0, learning_rate=0.5)
        >>> updates, _ = optimizer.update({"kernel": jnp.full((), 7.0)}, optimizer.init(params), params)
        >>> round(float(updates["kernel"]), 5)
        -3.5

    Source: Liu et al. (2020), On the variance of the adaptive learning rate and beyond, algorithm 2.
    """
    return chain(
        schedule,
        learning_rate,
        clip_norm,
        decay_kernels(weight_decay),
        optax.scale_by_radam(b1, b2, epsilon, threshold=threshold),
    )
