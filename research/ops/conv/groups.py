"""The layout of patches and kernels for a dot that treats each group of channels separately.

The dot is always one batched dot of rank three, since XLA on the CPU has fast code for that form only; with
more dimensions it falls back to slow loops. With one group, the transposes in these functions move no data.
"""

from jax import Array
from jaxtyping import Float


def split_patches(patches: Float[Array, "b t k c"], groups: int) -> Float[Array, "b_groups t k_group"]:
    """Lay patches `[B, T, K, C]` out by group, as `[B * groups, T, K * C // groups]`."""
    batch, pixels, elements, channels = patches.shape
    patches = patches.reshape(batch, pixels, elements, groups, channels // groups)
    # Sizes are written out, since reshape cannot infer a size if there are no examples.
    return patches.transpose(0, 3, 1, 2, 4).reshape(batch * groups, pixels, elements * channels // groups)


def join_patches(
    patches: Float[Array, "b_groups t k_group"], groups: int, elements: int
) -> Float[Array, "b t {elements} c"]:
    """Undo `split_patches` of patches with `elements` kernel elements."""
    batch, pixels, per_group = patches.shape[0] // groups, patches.shape[1], patches.shape[2] // elements
    patches = patches.reshape(batch, groups, pixels, elements, per_group)
    return patches.transpose(0, 2, 3, 1, 4).reshape(batch, pixels, elements, groups * per_group)


def split_kernel(
    kernel: Float[Array, "b k c_group c_out"], groups: int
) -> Float[Array, "b_groups k_group o"]:
    """Lay kernels `[B, K, C // groups, O]` out by group, as `[B * groups, K * C // groups, O // groups]`."""
    batch, elements, channels, features = kernel.shape
    kernel = kernel.reshape(batch, elements * channels, groups, features // groups)
    return kernel.swapaxes(1, 2).reshape(batch * groups, elements * channels, -1)


def join_kernel(
    kernel: Float[Array, "b_groups k_group o"], groups: int, elements: int
) -> Float[Array, "b {elements} c_group c_out"]:
    """Undo `split_kernel` of kernels with `elements` kernel elements."""
    batch, rows = kernel.shape[0] // groups, kernel.shape[1]
    kernel = kernel.reshape(batch, groups, rows, -1).swapaxes(1, 2)
    return kernel.reshape(batch, elements, rows // elements, -1)
