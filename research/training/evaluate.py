"""The logits of a whole split, and the loss, accuracy and mistakes that follow from them."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from research.data import Images, batches_in_order
from research.layers import Params, Sequential, State
from research.layers.rewrite import with_algorithm, with_inference_algorithms
from research.training.losses import cross_entropy
from research.training.objective import wide
from research.training.program import Predict
from research.training.step import Preprocess
from research.training.tta import average_views
from research.utils.xla import jit_for_one_call

SMALL_BYTES = 2**20
"""The number of bytes of activations per image, in float32, up to which a network counts as small.

See `docs/benchmarks/step.md`.
"""


def make_predict(net: Sequential, preprocess: Preprocess, tta: str = "none") -> Predict:
    """Return a function that computes logits, without augmentation.

    On the CPU, a convolution whose algorithm is "auto" uses the algorithm that is fastest outside of a loop.
    In a small network that is always `lax`, which compiles in a fifth of the time.

    Args:
        net: the network.
        preprocess: a function `preprocess(images)` that scales the images.
        tta: the test-time augmentation, a name in `TTA`.

    Returns:
        The function `predict(params, model_state, images)`. It maps images `[N, H, W, C]` to logits `[N, K]`,
        in float32 or a wider dtype.
    """

    def predict(params: Params, model_state: State, images: jax.Array | np.ndarray) -> jax.Array:
        return average_views(partial(predict_view, params, model_state), jnp.asarray(images), tta)

    def predict_view(params: Params, model_state: State, images: jax.Array) -> jax.Array:
        x = preprocess(images)
        if jax.default_backend() == "cpu" and x.dtype == jnp.float32:
            logits, _, activations = with_algorithm(net, "lax").trace(params, model_state, x, train=False)
            if sum(4 * a.size for a in activations.values()) <= SMALL_BYTES * len(x):
                return logits
            chosen = with_inference_algorithms(net, x.shape)
            return chosen.apply(params, model_state, x, train=False)[0]
        return wide(net.apply(params, model_state, x, train=False)[0])

    return predict


def predict_all(
    predict: Predict, params: Params, model_state: State, images: Images, batch_size: int
) -> np.ndarray:
    """Return the logits of all images.

    All batches have the same shape. The last one is padded, and the logits of the padding are cut off.

    Args:
        predict: the function that `make_predict` returns, which may be compiled.
        params: the parameters of the network.
        model_state: the state of the network.
        images: the images `[N, H, W, C]`.
        batch_size: the number of images in a batch.

    Returns:
        The logits `[N, K]`.
    """
    logits = []
    batches = batches_in_order(images, batch_size) if len(images) else [images[:]]  # one batch of padding
    for batch in batches:
        padding = [(0, batch_size - len(batch))] + [(0, 0)] * (batch.ndim - 1)
        padded = np.pad(batch, padding) if len(batch) < batch_size else batch
        logits.append(predict(params, model_state, padded))
    return np.concatenate([np.asarray(part) for part in logits])[: len(images)]


_cross_entropy = jit_for_one_call(cross_entropy)


def measure(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return the mean cross-entropy and the accuracy.

    Args:
        logits: the logits `[N, K]`.
        labels: the labels `[N]`, integers.

    Returns:
        The cross-entropy in nats, and the accuracy in [0, 1]. Both are NaN if there are no examples.
    """
    if not len(labels):
        return math.nan, math.nan
    loss = float(np.asarray(_cross_entropy(logits, labels), np.float64).mean())
    return loss, float((logits.argmax(-1) == labels).mean())


def most_confident_mistakes(logits: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Return the positions of the wrong predictions with the largest probabilities, the largest first.

    Args:
        logits: the logits `[N, K]`.
        labels: the labels `[N]`, integers.
        count: the largest number of positions.

    Example:
        >>> logits = np.array([[4.0, 0.0], [1.0, 0.0], [0.0, 9.0]])
        >>> most_confident_mistakes(logits, np.array([1, 1, 1]), 5).tolist()
        [0, 1]
    """
    (wrong,) = np.nonzero(logits.argmax(-1) != labels)
    shifted = logits[wrong] - logits[wrong].max(-1, keepdims=True)  # the largest probability is 1 / the sum
    return wrong[np.argsort(np.exp(shifted).sum(-1), kind="stable")][:count]
