"""Rotations of channels within each group, by which a grouped convolution is a sum of depthwise ones."""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float


def rotate_images(
    x: Float[Array, "n h w c_in"], features: int, groups: int
) -> list[Float[Array, "n h w {features}"]]:
    r"""Return the images with rotated channels, for each rotation $r$ from 0 to $c - 1$.

    Here $c$ is the number of channels of a group. Feature $j$ of a group is its channel $(j + r) \bmod c$.

    Args:
        x: the images.
        features: the number of output features.
        groups: the number of groups of channels.
    """
    channels, per_group = x.shape[3] // groups, features // groups
    split = x.reshape(*x.shape[:3], groups, channels)

    def rotated(r: int) -> Array:
        whole = [split] * ((per_group - 1) // channels)
        repeated = lax.concatenate([split[..., r:], *whole, split[..., :r]], 4)
        return repeated[..., :per_group].reshape(*x.shape[:3], features)

    # Without the barrier, XLA computes padding and rotation again for each kernel element.
    return lax.optimization_barrier([x] if channels == per_group == 1 else [*map(rotated, range(channels))])


def rotate_kernel(
    kernel: Float[Array, "kh kw c_group c_out"], groups: int, sign: int
) -> Float[Array, "kh kw c_group c_out"]:
    """Return the kernel with the channels of feature $j$ of each group rotated by $j$.

    Args:
        kernel: the kernel.
        groups: the number of groups of channels.
        sign: -1 rotates the channels so that they fit the images of `rotate_images`, and 1 undoes that.
    """
    if kernel.shape[2] == 1:
        return kernel
    split = kernel.reshape(*kernel.shape[:3], groups, -1)
    rolled = [jnp.roll(split[..., j : j + 1], sign * j, 2) for j in range(split.shape[4])]
    return lax.optimization_barrier(lax.concatenate(rolled, 4).reshape(kernel.shape))
