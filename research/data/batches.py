"""Which examples make up which batch: always of one fixed shape."""

import jax
import jax.numpy as jnp
import numpy as np


def epoch_order(key: jax.Array, num_examples: int) -> jax.Array:
    """A random order of the training examples for one epoch.

    Args:
        key: a typed key ``[]``.
        num_examples: at least 1.

    Returns:
        ``[num_examples]`` int32, each index once.

    Example:
        >>> sorted(epoch_order(jax.random.key(0), 4).tolist())
        [0, 1, 2, 3]
    """
    return jax.random.permutation(key, jnp.arange(num_examples, dtype=jnp.int32))


def pad_batches(num_examples: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Batches that read every example once, in order, the last one padded with example 0.

    Args:
        num_examples: at least 0.
        batch_size: at least 1.

    Returns:
        Indices ``[num_batches, batch_size]`` int32, and a mask of the same shape, False where padded.

    Raises:
        ValueError: ``num_examples`` or ``batch_size`` is too small.

    Example:
        >>> indices, mask = pad_batches(3, 2)
        >>> indices.tolist(), mask.tolist()
        ([[0, 1], [2, 0]], [[True, True], [True, False]])
    """
    if num_examples < 0 or batch_size < 1:
        raise ValueError(
            f"num_examples={num_examples} must be at least 0, batch_size={batch_size} at least 1"
        )
    num_batches = -(-num_examples // batch_size)
    indices = np.arange(num_batches * batch_size, dtype=np.int32).reshape(num_batches, batch_size)
    mask = indices < num_examples
    return np.where(mask, indices, 0).astype(np.int32), mask
