"""The exchange of values between devices in a training step inside `shard_map` or `pmap`.

If `axis_name` is `None`, nothing is exchanged. That is so on a single device, and under jit, where the
compiler adds the exchange by itself.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
from jax.flatten_util import ravel_pytree

T = TypeVar("T")


def position(axis_name: str | None) -> jax.Array | int:
    """Return the position of this device on the axis, or 0 if there is no axis."""
    return 0 if axis_name is None else jax.lax.axis_index(axis_name)


def varying(tree: T, axis_name: str | None) -> T:
    """Return the same values with the type of values that may differ between devices."""
    return tree if axis_name is None else jax.lax.pcast(tree, axis_name, to="varying")


def average(tree: T, axis_name: str | None) -> T:
    """Return the mean of each array over the devices, by one all-reduce of all arrays as one vector."""
    return _all_at_once(jax.lax.pmean, tree, axis_name)


def add_up(tree: T, axis_name: str | None) -> T:
    """Return the sum of each array over the devices, by one all-reduce of all arrays as one vector.

    If the tree also holds float32 arrays, integers are summed in float32, which is exact up to 2**24.
    """
    return _all_at_once(jax.lax.psum, tree, axis_name)


def gather(tree: T, axis_name: str | None) -> T:
    """Return each array joined along its first axis over the devices."""
    if axis_name is None:
        return tree
    return jax.tree.map(lambda x: jax.lax.all_gather(x, axis_name, tiled=True), tree)


def _all_at_once(reduce: Callable[[jax.Array, str], jax.Array], tree: T, axis_name: str | None) -> T:
    """Apply a collective to all arrays of the tree, joined to one vector."""
    if axis_name is None:
        return tree
    flat, unravel = ravel_pytree(tree)
    return unravel(reduce(flat, axis_name))
