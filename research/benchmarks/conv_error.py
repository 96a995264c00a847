"""Errors of each convolution algorithm against float64."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from research.ops.conv import CONV_ALGORITHMS, conv2d

CHANNELS = (1, 2, 3, 4, 8, 16, 32, 64, 128, 256, 512)
DTYPES = ("float32", "bfloat16")
QUANTITIES = ("y", "dx", "dkernel")

Errors = Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]


def relative_errors(channels: Sequence[int] = CHANNELS, batch_size: int = 4, size: int = 12) -> Errors:
    r"""Return the largest error of a value and of both gradients over the largest number in it, 3×3, SAME.

    $$
    \max_i |y_i - \hat y_i| \, / \, \max_i |\hat y_i|
    $$

    against im2col in float64 on the same numbers, rounded to the dtype beforehand. Pixels and gradients are
    drawn from N(0, 1), kernels from N(0, 2 / (9 C)).

    Returns:
        By algorithm, dtype and quantity, the errors at each number of channels, in and out.
    """
    errors = {a: {d: {q: [] for q in QUANTITIES} for d in DTYPES} for a in CONV_ALGORITHMS}
    for count in channels:
        rng = np.random.default_rng(count)
        x, dy = (rng.standard_normal((batch_size, size, size, count)) for _ in range(2))
        kernel = rng.standard_normal((3, 3, count, count)) * np.sqrt(2 / (9 * count))
        for dtype in DTYPES:
            arrays = [jnp.asarray(array, dtype) for array in (x, kernel, dy)]
            with jax.enable_x64(True):
                expected = _passes("im2col", *(jnp.asarray(np.float64(array)) for array in arrays))
            for algorithm in CONV_ALGORITHMS:
                results = _passes(algorithm, *arrays)
                for quantity, y, exact in zip(QUANTITIES, results, expected, strict=True):
                    error = np.abs(np.float64(y) - exact).max() / np.abs(exact).max()
                    errors[algorithm][dtype][quantity].append(float(error))
    return errors


def _passes(algorithm: str, x: jax.Array, kernel: jax.Array, dy: jax.Array) -> list[np.ndarray]:
    def passes(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> tuple[jax.Array, ...]:
        y, pullback = jax.vjp(lambda x, kernel: conv2d(x, kernel, algorithm=algorithm), x, kernel)
        return y, *pullback(dy)

    return [np.asarray(array) for array in jax.jit(passes)(x, kernel, dy)]
