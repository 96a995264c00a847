"""The loss that training minimises."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

Objective = Callable[[jax.Array, jax.Array], jax.Array]
"""A function of logits `[N, K]` and integer labels `[N]` that returns the loss of each example `[N]`."""


def make_cross_entropy(label_smoothing: float = 0.0) -> Objective:
    r"""Return a function that computes the cross-entropy of each example.

    $$
    \ell_n = -\sum_k q_{nk} \log \mathrm{softmax}(z_n)_k,\quad
    q_{nk} = (1 - \epsilon)\,[k = y_n] + \epsilon / K
    $$

    where $z_n$ are the logits and $y_n$ is the label of example $n$.

    Args:
        label_smoothing: the smoothing $\epsilon$, in [0, 1).

    Returns:
        A function of logits `[N, K]` and integer labels `[N]`. It returns the losses `[N]` in nats, in
        float32 or a wider dtype of the logits.

    Example:
        >>> import jax.numpy as jnp
        >>> float(make_cross_entropy()(jnp.zeros((1, 2)), jnp.array([0]))[0])  # log 2
        0.6931471824645996

    Source: for label smoothing, Szegedy et al., Rethinking the Inception Architecture for Computer Vision,
    2016, section 7.
    """

    def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
        logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
        if not label_smoothing:
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), label_smoothing)
        return optax.softmax_cross_entropy(logits, targets.astype(logits.dtype))

    return cross_entropy


def is_correct(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return whether the largest logit is that of the label, as bools `[N]`.

    Args:
        logits: the logits `[N, K]`.
        labels: the integer labels `[N]`.
    """
    return jnp.argmax(logits, axis=-1) == labels
