"""What devices exchange in a step, written out for ``shard_map`` and ``pmap``.

Every function is the identity where ``axis_name`` is ``None``: one device, or jit, whose compiler adds what
is to be exchanged by itself.
"""

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
    if axis_name is None:
        return tree
    flat, unravel = ravel_pytree(tree)
    return unravel(jax.lax.pmean(flat, axis_name))


def add_up(tree: T, axis_name: str | None) -> T:
    """Sum over the devices, as one all-reduce; whole numbers stay exact up to 2**24.

    On the CPU a device holds a thread for each collective that it waits in, out of as many as there are
    cores: several at once can take them all, and the others never come.
    """
    if axis_name is None:
        return tree
    flat, unravel = ravel_pytree(tree)
    return unravel(jax.lax.psum(flat, axis_name))
