"""What training minimises."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

Objective = Callable[[jax.Array, jax.Array], jax.Array]


def make_cross_entropy(label_smoothing: float = 0.0) -> Objective:
    """Make the cross-entropy of integer labels, per example.

    .. math:: \\ell_n = -\\sum_k q_{nk} \\log \\mathrm{softmax}(z_n)_k,\\quad
              q_{nk} = (1 - \\epsilon)\\,[k = y_n] + \\epsilon / K

    Args:
        label_smoothing: :math:`\\epsilon` in [0, 1).

    Returns:
        A function of logits ``[N, K]`` and integer labels ``[N]`` that returns nats ``[N]``.

    Example:
        >>> import jax.numpy as jnp
        >>> float(make_cross_entropy()(jnp.zeros((1, 2)), jnp.array([0]))[0])  # log 2
        0.6931471824645996

    Source: Szegedy et al. 2016, section 7, for the smoothing.
    """

    def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
        logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
        if not label_smoothing:
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), label_smoothing)
        return optax.softmax_cross_entropy(logits, targets.astype(logits.dtype))

    return cross_entropy


def is_correct(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Whether the largest logit is the label's, ``[N]`` bool."""
    return jnp.argmax(logits, axis=-1) == labels
