"""Logits of a whole split, and what is measured from them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from research.layers.base import Layer, Params, State
from research.training.objective import make_cross_entropy


def make_predict(net: Layer, preprocess: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Make ``predict(params, model_state, images [N, H, W, C]) -> logits [N, K]``, without augmentation."""

    def predict(params: Params, model_state: State, images: jax.Array) -> jax.Array:
        logits = net.apply(params, model_state, preprocess(images), train=False)[0]
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


def measure(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Mean cross-entropy in nats and accuracy in [0, 1] of logits ``[N, K]`` and labels ``[N]``."""
    losses = make_cross_entropy()(jax.numpy.asarray(logits), jax.numpy.asarray(labels))
    loss = float(np.asarray(losses, np.float64).mean())
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
