"""Schedule-free AdamW, which averages its parameters in place of a schedule."""

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from research.layers.base import Params
from research.training.optimizers.chain import (
    ClipNorm,
    Decay,
    Epsilon,
    LearningRate,
    WeightDecay,
    chain,
    decay_kernels,
)
from research.utils.constraints import Fraction


class ScheduleFreeState(NamedTuple):
    """The state of optax's `schedule_free`, with the parameters that are evaluated."""

    inner: Any

    def eval_params(self, params: Params) -> Params:
        """Return the average of the parameters."""
        b1 = self.inner.b1

        def average(z: Any, y: Any) -> Any:
            if isinstance(z, optax.MaskedNode):
                return y
            return jnp.where(y == z, y, (y - (1 - b1) * z) / b1)  # equal values keep their bits

        return jax.tree.map(average, self.inner.z, params, is_leaf=lambda z: isinstance(z, optax.MaskedNode))


def schedule_free_adamw(
    schedule: optax.Schedule,
    *,
    learning_rate: LearningRate = 0.0025,
    weight_decay: WeightDecay = 0.0,
    clip_norm: ClipNorm = None,
    b1: Annotated[float, Fraction] = 0.9,
    b2: Decay = 0.999,
    epsilon: Epsilon = 1e-8,
) -> optax.GradientTransformation:
    r"""Return schedule-free AdamW, whose average needs no schedule of the learning rate.

    With the gradient $g_t$ of the parameters $y_{t-1}$, the weight decay $\lambda$ (of kernels), the decays
    $\beta_1$ and $\beta_2$ and the learning rate $\alpha$; $v_0 = 0$ and $x_0 = y_0 = z_0$:

    $$
    v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2, \qquad
    z_t = z_{t-1}
        - \alpha \left(\frac{g_t}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon} + \lambda y_{t-1}\right)
    $$

    $$
    x_t = \left(1 - \frac{1}{t}\right) x_{t-1} + \frac{1}{t} z_t, \qquad
    y_t = (1 - \beta_1) z_t + \beta_1 x_t
    $$

    Training computes the gradients at $y_t$. The parameters that are evaluated and kept are $x_t$. The
    average has equal weights because the learning rate is constant, so a configuration with another schedule
    is refused. The paper also has a warm-up.

    Args:
        schedule: function from a step to the factor of the learning rate.
        learning_rate: the largest learning rate.
        weight_decay: factor of the kernels that is added to their updates.
        clip_norm: largest global norm of the gradients; `None` does not clip them.
        b1: weight of the average in the parameters where gradients are computed, in (0, 1).
        b2: decay of the average of the squared gradients, in [0, 1).
        epsilon: number that is added to the root.

    Example:
        >>> import jax.numpy as jnp
        >>> params = {"kernel": jnp.ones(())}
        >>> optimizer = schedule_free_adamw(lambda step: 1.0, learning_rate=0.5)
        >>> updates, state = optimizer.update({"kernel": jnp.full((), 7.0)}, optimizer.init(params), params)
        >>> round(float(updates["kernel"]), 5)
        -0.5

    Source: Defazio et al. (2024), The road less scheduled, algorithm 1.
    """
    scale = optax.scale_by_rms(b2, epsilon, eps_in_sqrt=False, bias_correction=True)
    base = chain(schedule, learning_rate, clip_norm, scale, decay_kernels(weight_decay))
    inner: Any = optax.contrib.schedule_free(base, learning_rate, b1)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, ScheduleFreeState]:
        updates, new = inner.update(updates, state.inner, params)
        return updates, ScheduleFreeState(new)

    return optax.GradientTransformation(lambda params: ScheduleFreeState(inner.init(params)), update)
