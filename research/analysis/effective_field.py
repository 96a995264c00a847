"""Which part of the image an output does depend on, measured."""

import jax
import jax.numpy as jnp

from research.layers import Array, Params, Sequential, State

SHARE = 0.95


def influence(net: Sequential, params: Params, state: State, images: Array) -> Array:
    """How much each pixel changes the output in the middle of the image.

    .. math:: I_{hw} = \\frac{1}{N} \\sum_n \\sum_c \\Big| \\frac{\\partial}{\\partial x_{nhwc}}
              \\sum_k y_{n, H'/2, W'/2, k} \\Big|

    Args:
        net: a network whose output is ``[N, H', W', K]``.
        params, state: as from ``net.init``.
        images: ``[N, H, W, C]``; of any size that the network takes, also larger than it was trained on.

    Returns:
        Array: ``[H, W]``; zero outside the theoretical receptive field.

    Source:
        Luo, Li, Urtasun and Zemel, "Understanding the effective receptive field", NeurIPS (2016), section 2.
    """

    def middle(images: Array) -> Array:
        y = net.apply(params, state, images, train=False)[0]
        return y[:, y.shape[1] // 2, y.shape[2] // 2].sum()

    return jnp.abs(jax.grad(middle)(images)).sum(-1).mean(0)


def effective_size(influence: Array, share: float = SHARE) -> tuple[int, int]:
    """Side in pixels of the square that holds ``share`` of the influence, and of the one that holds all.

    The squares are centred on the row and column in the middle of what is not zero.

    Args:
        influence: ``[H, W]``, not negative, not all zero.
        share: in (0, 1).

    Example:
        >>> effective_size(jnp.pad(jnp.ones((3, 3)).at[1, 1].set(100.0), 2))
        (3, 3)
        >>> effective_size(jnp.pad(jnp.ones((3, 3)).at[1, 1].set(1000.0), 2))
        (1, 3)
    """
    rows, columns = (jnp.flatnonzero(influence.sum(axis)) for axis in (1, 0))
    centre = (int(rows[0] + rows[-1]) // 2, int(columns[0] + columns[-1]) // 2)
    y, x = jnp.indices(influence.shape)
    distance = jnp.maximum(abs(y - centre[0]), abs(x - centre[1]))
    within = jnp.bincount(distance.ravel(), influence.ravel(), length=max(influence.shape)).cumsum()
    radius = int(jnp.argmax(within >= share * within[-1]))
    reached = int(max(rows[-1] - rows[0], columns[-1] - columns[0])) + 1
    return min(2 * radius + 1, reached), reached
