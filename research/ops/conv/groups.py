"""Products of patches with kernels, each group of channels apart: always one batched dot of rank three.

XLA on the CPU has fast code for dots of that form; with more dimensions it falls back to slow loops. With one
group the transposes here move nothing.
"""

from research.ops.padding import Array


def split_patches(patches: Array, groups: int) -> Array:
    """``[B, T, K, C]`` to ``[B * groups, T, K * C // groups]``."""
    batch, pixels, elements, channels = patches.shape
    patches = patches.reshape(batch, pixels, elements, groups, channels // groups)
    return patches.transpose(0, 3, 1, 2, 4).reshape(batch * groups, pixels, -1)


def join_patches(patches: Array, groups: int, elements: int) -> Array:
    """The inverse of `split_patches`."""
    batch, pixels = patches.shape[0] // groups, patches.shape[1]
    patches = patches.reshape(batch, groups, pixels, elements, -1)
    return patches.transpose(0, 2, 3, 1, 4).reshape(batch, pixels, elements, -1)


def split_kernel(kernel: Array, groups: int) -> Array:
    """``[B, K, C // groups, O]`` to ``[B * groups, K * C // groups, O // groups]``."""
    batch, elements, channels, features = kernel.shape
    kernel = kernel.reshape(batch, elements * channels, groups, features // groups)
    return kernel.swapaxes(1, 2).reshape(batch * groups, elements * channels, -1)


def join_kernel(kernel: Array, groups: int, elements: int) -> Array:
    """The inverse of `split_kernel`."""
    batch, rows = kernel.shape[0] // groups, kernel.shape[1]
    kernel = kernel.reshape(batch, groups, rows, -1).swapaxes(1, 2)
    return kernel.reshape(batch, elements, rows // elements, -1)
