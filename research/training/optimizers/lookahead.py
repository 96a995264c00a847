"""Lookahead, which follows another optimizer with slow weights."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from research.layers.base import Params


class LookaheadState(NamedTuple):
    """The state of optax's `lookahead`, with the slow weights."""

    inner: Any
    slow: Params

    def eval_params(self, params: Params) -> Params:
        """Return the slow weights."""
        return self.slow


def lookahead(
    fast: optax.GradientTransformation, sync_period: int, slow_step_size: float
) -> optax.GradientTransformation:
    r"""Return an optimizer whose slow weights follow the weights of another one.

    With the fast weights $\theta_t$, the update $u_t$ of the other optimizer, the slow weights
    $\phi_0 = \theta_0$, the period $k$ and the step size $\gamma$:

    $$
    \tilde{\theta}_t = \theta_{t-1} + u_t, \qquad
    \phi_t = \phi_{t-1} + \gamma (\tilde{\theta}_t - \phi_{t-1}), \quad \theta_t = \phi_t
    \quad \text{if } k \text{ divides } t
    $$

    In all other steps, $\phi_t = \phi_{t-1}$ and $\theta_t = \tilde{\theta}_t$. Training computes the
    gradients at the fast weights. The slow weights are evaluated and kept.

    Args:
        fast: the optimizer of the fast weights.
        sync_period: number of steps between updates of the slow weights.
        slow_step_size: step size of the slow weights, in (0, 1].

    Source: Zhang, Lucas, Hinton & Ba (2019), Lookahead optimizer: k steps forward, 1 step back, algorithm 1.
    """
    inner: Any = optax.lookahead(fast, sync_period, slow_step_size)

    pair: Any = optax.LookaheadParams

    def init(params: Any) -> LookaheadState:
        # The slow weights are a copy, since the state of training is donated to each step.
        slow = jax.tree.map(jnp.copy, params)
        return LookaheadState(inner.init(pair(params, slow)), slow)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, LookaheadState]:
        updates, new = inner.update(updates, state.inner, pair(params, state.slow))
        slow: Any = optax.apply_updates(state.slow, updates.slow)
        return updates.fast, LookaheadState(new, slow)

    return optax.GradientTransformation(init, update)
