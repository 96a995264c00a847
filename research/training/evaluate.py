"""Logits of a whole split, and what is measured from them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from research.layers import Params, Sequential, State
from research.layers.rewrite import with_algorithm
from research.training.objective import make_cross_entropy
from research.utils.xla import jit_for_one_call

SMALL_BYTES = 2**20
"""Of activations for an image, in float32; see `docs/benchmarks/step.md`."""


def make_predict(net: Sequential, preprocess: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Make ``predict(params, model_state, images [N, H, W, C]) -> logits [N, K]``, without augmentation.

    On the CPU a small network convolves by ``lax`` where its layers leave that open: outside of a loop it is
    as fast there, and compiled in a fifth of the time.
    """

    def predict(params: Params, model_state: State, images: jax.Array) -> jax.Array:
        x = preprocess(images)
        if jax.default_backend() == "cpu" and x.dtype == jnp.float32:
            logits, _, activations = with_algorithm(net, "lax").trace(params, model_state, x, train=False)
            if sum(4 * a.size for a in activations.values()) <= SMALL_BYTES * len(x):
                return logits
        logits = net.apply(params, model_state, x, train=False)[0]
        return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))

    return predict


def predict_all(
    predict: Callable[..., jax.Array], params: Params, model_state: State, images: np.ndarray, batch_size: int
) -> np.ndarray:
    """Logits ``[N, K]`` of all images, in batches of one shape: the last is padded, its padding cut off."""
    logits = []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        padding = [(0, batch_size - len(batch))] + [(0, 0)] * (images.ndim - 1)
        padded = np.pad(batch, padding) if len(batch) < batch_size else batch
        logits.append(predict(params, model_state, padded))
    return np.concatenate([np.asarray(part) for part in logits])[: len(images)]


_cross_entropy = jit_for_one_call(make_cross_entropy())


def measure(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Mean cross-entropy in nats and accuracy in [0, 1] of logits ``[N, K]`` and labels ``[N]``."""
    loss = float(np.asarray(_cross_entropy(logits, labels), np.float64).mean())
    return loss, float((logits.argmax(-1) == labels).mean())


def most_confident_mistakes(logits: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Positions of the wrong predictions with the largest probability, the surest first, at most ``count``.

    Example:
        >>> logits = np.array([[4.0, 0.0], [1.0, 0.0], [0.0, 9.0]])
        >>> most_confident_mistakes(logits, np.array([1, 1, 1]), 5).tolist()
        [0, 1]
    """
    (wrong,) = np.nonzero(logits.argmax(-1) != labels)
    shifted = logits[wrong] - logits[wrong].max(-1, keepdims=True)  # the largest probability is 1 / the sum
    return wrong[np.argsort(np.exp(shifted).sum(-1), kind="stable")][:count]
