"""Apply a function to a few images of a batch at a time, so that its intermediate arrays fit in the cache."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Shaped

CHUNK_BYTES, ACCELERATOR_CHUNK_BYTES = 5 * 2**20, 2**30
"""The number of bytes that one chunk writes and reads again, on the CPU and elsewhere.

On the CPU it is about twice what the level-2 caches of two cores hold. Elsewhere it only limits the
memory, since a small chunk leaves most of a GPU idle.
"""


def map_images(
    function: Callable[[Array], Array], images: Shaped[Array, "n ..."], bytes_per_image: int
) -> Shaped[Array, "n ..."]:
    """Return `function(images)`, computed for a few images at a time.

    Args:
        function: a function of images `[n, ...]` that returns one result per image, `[n, ...]`.
        images: the images `[N, ...]`.
        bytes_per_image: the memory that `function` writes and reads again for each image.

    Returns:
        The result `[N, ...]`.
    """
    num_images, size = images.shape[0], _chunk_size(images.shape[0], bytes_per_image)
    if size == num_images:
        return function(images)
    images = _filled(images, size)
    first = jax.eval_shape(function, images[:size])
    # The loop writes every element of `y`, so any first value will do. This one is an element of the images,
    # because XLA on the CPU would make an array of zeros long before the loop, and keep it until then.
    y = lax.full_like(images, images.ravel()[0], first.dtype, shape=(len(images), *first.shape[1:]))

    def body(index: Array, y: Array) -> Array:
        return lax.dynamic_update_slice_in_dim(y, function(_chunk(images, index, size)), index * size, 0)

    return lax.fori_loop(0, len(images) // size, body, y)[:num_images]


def sum_images(
    function: Callable[[Array, Array], Array],
    x: Float[Array, "n ..."],
    y: Float[Array, "n ..."],
    bytes_per_image: int,
) -> Float[Array, "..."]:
    """Return `function(x, y)`, computed as a sum over chunks of a few images.

    Args:
        function: a function of two arrays `[n, ...]` that returns a sum over the images, and zero for zeros.
        x: one array for each image, `[N, ...]`.
        y: a second array for each image, `[N, ...]`.
        bytes_per_image: the memory that `function` writes and reads again for each image.

    Returns:
        The sum, with the shape and dtype that `function` returns.
    """
    size = _chunk_size(x.shape[0], bytes_per_image)
    if size == x.shape[0]:
        return function(x, y)
    x, y = _filled(x, size), _filled(y, size)
    first = jax.eval_shape(function, x[:size], y[:size])
    # The zero is made from y, because under shard_map a value may differ between devices, and a loop must
    # keep the type of its carry. XLA does not know that it is zero, so it makes the zeros after y.
    zero = (y.ravel()[0] > math.inf).astype(first.dtype)

    def body(index: Array, total: Array) -> Array:
        return total + function(_chunk(x, index, size), _chunk(y, index, size))

    return lax.fori_loop(0, len(x) // size, body, lax.broadcast(zero, first.shape))


def _chunk_size(num_images: int, bytes_per_image: int) -> int:
    """Return the number of images per chunk, which is `num_images` if one chunk is enough."""
    chunk_bytes = CHUNK_BYTES if jax.default_backend() == "cpu" else ACCELERATOR_CHUNK_BYTES
    if num_images * bytes_per_image <= 1.5 * chunk_bytes:
        return num_images  # a loop of two steps would cost more than it saves
    wanted = min(num_images, max(1, chunk_bytes // max(1, bytes_per_image)))
    divisor = max(n for n in range(1, wanted + 1) if num_images % n == 0)
    # If the divisor is too small, the batch is cut into equal chunks, and the last one is filled with zeros.
    return divisor if 2 * divisor >= wanted else math.ceil(num_images / math.ceil(num_images / wanted))


def _filled(x: Shaped[Array, "n ..."], size: int) -> Shaped[Array, "filled ..."]:
    """Return the images, with images of zeros after them if `size` does not divide their number."""
    missing = -x.shape[0] % size
    return jnp.concatenate([x, jnp.zeros((missing, *x.shape[1:]), x.dtype)]) if missing else x


def _chunk(x: Shaped[Array, "n ..."], index: Array, size: int) -> Shaped[Array, "{size} ..."]:
    """Return one chunk. It is a slice, since XLA would compute a reshaped array a second time."""
    return lax.dynamic_slice_in_dim(x, index * size, size)
