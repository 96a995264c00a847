"""A batch a few images at a time, so that what lies between two products stays in the cache."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from research.ops.padding import Array

# of what one chunk writes and reads again: on the CPU about twice what the level-2 caches of two cores hold;
# elsewhere only so much that memory does not run out, since a small chunk leaves most of a GPU idle
CHUNK_BYTES, ACCELERATOR_CHUNK_BYTES = 5 * 2**20, 2**30


def map_images(function: Callable[[Array], Array], images: Array, bytes_per_image: int) -> Array:
    """``function`` of ``[n, ...]`` to ``[n, ...]``, applied to a few of the images ``[N, ...]`` at a time."""
    num_images, size = images.shape[0], _chunk_size(images.shape[0], bytes_per_image)
    if size == num_images:
        return function(images)
    y = lax.map(function, _split(images, size))
    return y.reshape(-1, *y.shape[2:])[:num_images]


def sum_images(function: Callable[[Array, Array], Array], x: Array, y: Array, bytes_per_image: int) -> Array:
    """The sum of ``function`` over chunks of the images ``[N, ...]`` of both; it is zero for zeros."""
    size = _chunk_size(x.shape[0], bytes_per_image)
    if size == x.shape[0]:
        return function(x, y)
    chunks = _split(x, size), _split(y, size)
    first = jax.eval_shape(function, *(chunk[0] for chunk in chunks))
    # like y: under shard_map both differ between devices, and a loop keeps the type of its carry
    zeros = lax.full_like(y, 0, first.dtype, shape=first.shape)
    return lax.scan(lambda total, chunk: (total + function(*chunk), None), zeros, chunks)[0]


def _chunk_size(num_images: int, bytes_per_image: int) -> int:
    chunk_bytes = CHUNK_BYTES if jax.default_backend() == "cpu" else ACCELERATOR_CHUNK_BYTES
    if num_images * bytes_per_image <= 1.5 * chunk_bytes:
        return num_images  # a loop of two would cost more than it saves
    wanted = min(num_images, max(1, chunk_bytes // max(1, bytes_per_image)))
    divisor = max(n for n in range(1, wanted + 1) if num_images % n == 0)
    # else the last chunk is filled up with zeros
    return divisor if 2 * divisor >= wanted else math.ceil(num_images / math.ceil(num_images / wanted))


def _split(x: Array, size: int) -> Array:
    missing = -x.shape[0] % size
    if missing:
        x = jnp.concatenate([x, jnp.zeros((missing, *x.shape[1:]), x.dtype)])
    return x.reshape(-1, size, *x.shape[1:])
