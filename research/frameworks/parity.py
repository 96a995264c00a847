"""The check that a framework computes the same as the reference."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from research.frameworks.base import Arrays, Framework
from research.frameworks.numpy_scratch.layers import softmax_cross_entropy

GRADIENT_TOLERANCE = 1e-5
"""The largest relative error of a gradient that counts as equal."""

LOSS_TOLERANCE = 1e-3
"""The largest error of the loss after `NUM_STEPS` steps that counts as equal, in nats."""

NUM_STEPS = 50
"""The number of training steps after which the losses are compared."""

NUM_STARTS = 3
"""The number of orders of the batches over which the error of the loss is the median."""

NUM_EVALUATED = 10_000
"""The largest number of images on which the loss is measured."""

PREDICT_BATCH = 500
"""The number of images in a call of `predict`."""


@dataclass(frozen=True)
class Parity:
    """How far a framework is from the reference.

    Args:
        gradient_error: ‖a − b‖ / ‖b‖ of the gradients of the first step, the largest over the arrays.
        worst_array: the array that has the largest error.
        loss_error: difference of the losses after `NUM_STEPS` steps, in nats. It is the median over
            `NUM_STARTS` orders of the batches, because Adam amplifies a rounding error that switches one
            ReLU.
    """

    gradient_error: float
    worst_array: str
    loss_error: float

    @property
    def error(self) -> str | None:
        """Return one sentence if an error exceeds its tolerance or is NaN, else `None`."""
        if self.gradient_error <= GRADIENT_TOLERANCE and self.loss_error <= LOSS_TOLERANCE:
            return None
        return (
            f"parity failed: the gradient error in {self.worst_array} is {self.gradient_error:.1e}, "
            f"allowed is {GRADIENT_TOLERANCE:g}; the loss error is {self.loss_error:.1e}, "
            f"allowed is {LOSS_TOLERANCE:g}"
        )


def draw_weights(shapes: Mapping[str, tuple[int, ...]], seed: int) -> Arrays:
    """Draw initial parameters with NumPy, float32: He normal kernels and zero biases.

    Var K = 2 / fan_in, where fan_in is the product of all axes of the kernel but the last.

    Example:
        >>> {name: a.shape for name, a in draw_weights({"a/kernel": (3, 2), "a/bias": (2,)}, seed=0).items()}
        {'a/kernel': (3, 2), 'a/bias': (2,)}
    """
    generator = np.random.default_rng(seed)
    weights = {}
    for name, shape in shapes.items():
        deviation = np.sqrt(2 / np.prod(shape[:-1])) if len(shape) > 1 else 0.0
        weights[name] = (deviation * generator.standard_normal(shape)).astype(np.float32)
    return weights


def make_order(seed: int, epochs: int, num_examples: int, batch_size: int) -> np.ndarray:
    """Draw the examples of each step, which are the same for every framework.

    Args:
        seed: seed of the run.
        epochs: number of passes over the examples.
        num_examples: number of examples.
        batch_size: B, the number of examples in a step. An epoch drops those after its last full batch.

    Returns:
        The indices of the examples, int32 `[epochs, num_examples // B, B]`. An epoch has each example at most
        once.

    Raises:
        ValueError: there are fewer examples than one batch.

    Example:
        >>> make_order(0, epochs=2, num_examples=10, batch_size=4).shape
        (2, 2, 4)
    """
    num_steps = num_examples // batch_size
    if num_steps < 1:
        raise ValueError(f"{num_examples} examples are less than one batch of {batch_size}")
    rows = [np.random.default_rng((seed, epoch)).permutation(num_examples) for epoch in range(epochs)]
    return np.stack([row[: num_steps * batch_size].reshape(num_steps, -1) for row in rows]).astype(np.int32)


def first_batches(seed: int, num_examples: int, batch_size: int) -> np.ndarray:
    """Return the batches of the first steps in several orders, int32 `[NUM_STARTS, NUM_STEPS, B]`."""
    epochs = -(-NUM_STEPS // max(num_examples // batch_size, 1))
    orders = [make_order(seed + start, epochs, num_examples, batch_size) for start in range(NUM_STARTS)]
    return np.stack([order.reshape(-1, batch_size)[:NUM_STEPS] for order in orders])


def first_steps(
    framework: Framework, params: Arrays, images: np.ndarray, labels: np.ndarray, batches: np.ndarray
) -> tuple[Arrays, np.ndarray]:
    """Return the gradients on the first batch, and the loss after the steps of each start, `[NUM_STARTS]`.

    The loss is measured on the first `NUM_EVALUATED` images.
    """
    framework.load(params)
    gradients = framework.gradients(images[batches[0, 0]], labels[batches[0, 0]])
    losses = []
    for start in batches:
        framework.load(params)
        for batch in start:
            framework.step(images[batch], labels[batch])
        logits = predict_all(framework, images[:NUM_EVALUATED])
        losses.append(softmax_cross_entropy(logits.astype(np.float64), labels[:NUM_EVALUATED])[0])
    return gradients, np.array(losses)


def is_repeatable(
    framework: Framework, params: Arrays, images: np.ndarray, labels: np.ndarray, batches: np.ndarray
) -> bool:
    """Return whether training twice over `batches` `[steps, B]` ends in the same bits."""
    ends = []
    for _ in range(2):
        framework.load(params)
        framework.train(images, labels, batches[None])
        ends.append(framework.parameters())
    return all(np.array_equal(ends[0][name], ends[1][name]) for name in params)


def predict_all(framework: Framework, images: np.ndarray) -> np.ndarray:
    """Return the logits `[N, num_classes]` of many images, `PREDICT_BATCH` at a time."""
    starts = range(0, len(images), PREDICT_BATCH)
    return np.concatenate([framework.predict(images[i : i + PREDICT_BATCH]) for i in starts])


def compare_steps(
    gradients: Arrays, losses: np.ndarray, reference_gradients: Arrays, reference_losses: np.ndarray
) -> Parity:
    """Compare the first steps of a framework with those of the reference.

    Raises:
        ValueError: the gradients have other names or shapes than the reference's.
    """
    shapes, expected = ({n: a.shape for n, a in g.items()} for g in (gradients, reference_gradients))
    if shapes != expected:
        raise ValueError(f"gradients have the shapes {shapes}, the reference's have {expected}")
    errors = {name: relative_error(gradients[name], b) for name, b in reference_gradients.items()}
    worst = max(errors, key=lambda name: np.nan_to_num(errors[name], nan=np.inf))
    return Parity(errors[worst], worst, float(np.median(np.abs(losses - reference_losses))))


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    """Return ‖a − b‖ / ‖b‖, computed in float64."""
    difference = np.linalg.norm(a.astype(np.float64) - b.astype(np.float64))
    return float(difference / np.linalg.norm(b.astype(np.float64)))
