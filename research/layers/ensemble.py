"""Several networks whose probabilities are averaged."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from research.layers.base import (
    Array,
    Key,
    Layer,
    Params,
    Shape,
    State,
    init_branches,
    trace_branches,
    with_keys,
)


@dataclass(frozen=True)
class Ensemble:
    r"""Average the probabilities of several networks.

    $$
    y = \log \frac{1}{M} \sum_{m=1}^{M} \mathrm{softmax}(f_m(x))
    $$

    Its outputs are logits `[N, K]`, whose softmax is the average. Parameters and state are dicts with the
    entries `member1`, `member2` and so on. A network without parameters or state has no entry.

    Args:
        members: the networks, which return logits `[N, K]`.

    Source: Lakshminarayanan et al. (2017), Simple and scalable predictive uncertainty estimation using deep
    ensembles, section 2.4.
    """

    members: tuple[Layer, ...]

    def branches(self) -> tuple[tuple[str, Layer], ...]:
        """Return the networks with their names."""
        return tuple((f"member{number}", member) for number, member in enumerate(self.members, start=1))

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        """Return the parameters and the state of every network by its name."""
        return init_branches(self.branches(), key, in_shape)

    def trace(
        self, params: Params, state: State, x: ArrayLike, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State, dict[str, Array]]:
        """Return what `apply` returns, and the outputs of the networks and of the layers in them by path."""
        x = with_keys(x, key)
        new_state, activations = trace_branches(self.branches(), params, state, x, train=train, key=key)
        logits = jnp.stack([activations[name] for name, _ in self.branches()])
        log_probabilities = jax.nn.log_softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)))
        mean = jnp.log(jnp.exp(log_probabilities).mean(0) + TINY)
        return mean, new_state, activations

    def apply(
        self, params: Params, state: State, x: ArrayLike, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        """Return the logits of the average `[N, K]`, and the new state of all networks."""
        y, new_state, _ = self.trace(params, state, x, train=train, key=key)
        return y, new_state


TINY = 1e-30
"""A number that keeps the logarithm of a probability finite; it is far below the rounding of float32."""
