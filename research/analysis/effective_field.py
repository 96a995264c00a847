"""The effective receptive field: how much each pixel of an image influences an output."""

import jax
import jax.numpy as jnp

from research.layers import Array, Params, Sequential, State

SHARE = 0.95
"""The share of the influence that the effective receptive field holds."""


def influence(net: Sequential, params: Params, state: State, images: Array) -> Array:
    r"""Return how much each pixel changes the output in the middle of the image.

    $$
    I_{hw} = \frac{1}{N} \sum_n \sum_c \Big| \frac{\partial}{\partial x_{nhwc}}
    \sum_k y_{n, H'/2, W'/2, k} \Big|
    $$

    Args:
        net: a network whose output is `[N, H', W', K]`.
        params: the parameters, as `net.init` returns them.
        state: the state, as `net.init` returns it.
        images: the images `[N, H, W, C]`. They may be larger than those that the network was trained on.

    Returns:
        The influence `[H, W]`, which is zero outside the theoretical receptive field.

    Source: Luo, Li, Urtasun and Zemel, Understanding the Effective Receptive Field, 2016, section 2.
    """

    def middle(images: Array) -> Array:
        y = net.apply(params, state, images, train=False)[0]
        return y[:, y.shape[1] // 2, y.shape[2] // 2].sum()

    return jnp.abs(jax.grad(middle)(images)).sum(-1).mean(0)


def effective_size(influence: Array, share: float = SHARE) -> tuple[int, int]:
    """Return the sides of the squares that hold a share of the influence and all of it.

    Both squares are centred on the middle row and the middle column of the pixels that are not zero.

    Args:
        influence: the influence `[H, W]`, which is nowhere negative and not zero everywhere.
        share: the share of the influence, in (0, 1).

    Returns:
        The two sides in pixels.

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
