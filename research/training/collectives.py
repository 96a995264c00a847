"""What devices exchange in a step, written out for ``shard_map`` and ``pmap``.

Every function is the identity where ``axis_name`` is ``None``: one device, or jit, whose compiler adds what
is to be exchanged by itself.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
from jax.flatten_util import ravel_pytree

T = TypeVar("T")


def position(axis_name: str | None) -> jax.Array | int:
    """The position of this device on the axis."""
    return 0 if axis_name is None else jax.lax.axis_index(axis_name)


def varying(tree: T, axis_name: str | None) -> T:
    """The same values, typed as differing between devices, so that what is derived from them may."""
    return tree if axis_name is None else jax.lax.pcast(tree, axis_name, to="varying")


def average(tree: T, axis_name: str | None) -> T:
    """Mean over the devices, as one all-reduce of all arrays in one vector."""
    return _all_at_once(jax.lax.pmean, tree, axis_name)


def add_up(tree: T, axis_name: str | None) -> T:
    """Sum over the devices, as one all-reduce; whole numbers beside float32 stay exact up to 2**24."""
    return _all_at_once(jax.lax.psum, tree, axis_name)


def _all_at_once(reduce: Callable[..., jax.Array], tree: T, axis_name: str | None) -> T:
    if axis_name is None:
        return tree
    flat, unravel = ravel_pytree(tree)
    return unravel(reduce(flat, axis_name))
