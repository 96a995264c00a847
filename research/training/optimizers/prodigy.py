"""Prodigy, which estimates its learning rate."""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax

from research.training.optimizers.chain import (
    ClipNorm,
    Decay,
    Epsilon,
    LearningRate,
    WeightDecay,
    clip_gradients,
    rate_and_mask,
)
from research.utils.constraints import Positive


def prodigy(
    schedule: optax.Schedule,
    *,
    learning_rate: LearningRate = 1.0,
    weight_decay: WeightDecay = 0.0,
    clip_norm: ClipNorm = None,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    epsilon: Epsilon = 1e-8,
    first_distance: Annotated[float, Positive] = 1e-6,
) -> optax.GradientTransformation:
    r"""Return Prodigy, which is AdamW with an estimate of the distance to the solution as learning rate.

    With the gradient $g_t$, the weight decay $\lambda$ (of kernels), the decays $\beta_1$, $\beta_2$ and
    $\beta_3 = \sqrt{\beta_2}$, the learning rate $\alpha$ and its factor $s_t$; $m_0 = v_0 = r_0 = q_0 = 0$,
    and $d_0$ is the first distance:

    $$
    \eta_t = \alpha s_t d_{t-1} \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t}, \qquad
    m_t = \beta_1 m_{t-1} + (1 - \beta_1) d_{t-1} g_t, \qquad
    v_t = \beta_2 v_{t-1} + (1 - \beta_2) d_{t-1}^2 g_t^2
    $$

    $$
    r_t = \beta_3 r_{t-1} + \frac{\eta_t d_{t-1}}{d_0} \langle g_t, \theta_0 - \theta_{t-1} \rangle, \qquad
    q_t = \beta_3 q_{t-1} + \frac{\eta_t d_{t-1}}{d_0} g_t, \qquad
    d_t = \max\left(d_{t-1}, \frac{r_t}{\lVert q_t \rVert_1}\right)
    $$

    $$
    \theta_t = \theta_{t-1}
        - \eta_t \left(\frac{m_t}{\sqrt{v_t} + d_t \epsilon} + \lambda \theta_{t-1}\right)
    $$

    Args:
        schedule: function from a step to the factor of the learning rate.
        learning_rate: factor of the estimated learning rate; 1 is the paper's.
        weight_decay: factor of the kernels that is added to their updates.
        clip_norm: largest global norm of the gradients; `None` does not clip them.
        b1: decay of the average of the gradients, in [0, 1).
        b2: decay of the average of the squared gradients, in [0, 1).
        epsilon: number that is added to the root.
        first_distance: first estimate of the distance to the solution; it should be too small.

    Example:
        >>> params = {"kernel": jnp.ones(())}
        >>> optimizer = prodigy(lambda step: 1.0, first_distance=0.01)
        >>> updates, _ = optimizer.update({"kernel": jnp.full((), 7.0)}, optimizer.init(params), params)
        >>> round(float(updates["kernel"]), 5)
        -0.01

    Source: Mishchenko & Defazio (2024), Prodigy: an expeditiously adaptive parameter-free learner,
    algorithm 4.
    """

    def rate(step: Any) -> Any:
        return learning_rate * schedule(step)

    decay_rate, decays = rate_and_mask(weight_decay)
    inner: Any = optax.contrib.prodigy(rate, (b1, b2), eps=epsilon, estim_lr0=first_distance)

    def init(params: Any) -> Any:
        # A copy of the first parameters is kept, since the state of training is donated to each step.
        return inner.init(jax.tree.map(jnp.copy, params))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        updates, new = inner.update(updates, state, params)
        correction = jnp.sqrt(1 - b2**new.count) / (1 - b1**new.count)
        decay = decay_rate * state.estim_lr * rate(state.count) * correction
        return jax.tree.map(
            lambda update, param, decayed: update - decay * param if decayed else update,
            updates,
            params,
            decays(params),
        ), new

    return optax.chain(clip_gradients(clip_norm), optax.GradientTransformation(init, update))
