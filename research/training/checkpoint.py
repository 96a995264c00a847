"""Parameters and model state on disk, through Orbax."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, or of another network."""


def save(folder: Path, tree: Any) -> None:
    """Write a tree of arrays to ``folder``, atomically, replacing what is there."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder.absolute(), tree, force=True)


def restore(folder: Path, like: Any) -> Any:
    """Read the tree that ``save`` wrote.

    Args:
        folder: where it was written.
        like: a tree of arrays or ``jax.ShapeDtypeStruct`` of the expected structure, shapes and dtypes.

    Raises:
        CheckpointError: there is none, it cannot be read, or it is of another structure; the message names
            the folder and the first array that differs.
    """
    if not folder.is_dir():
        raise CheckpointError(f"there is no checkpoint {folder}")
    with ocp.StandardCheckpointer() as checkpointer:
        try:
            stored = _shapes(checkpointer.metadata(folder.absolute()).item_metadata.tree)
            expected = _shapes(like)
            for name in sorted(stored | expected):
                if stored.get(name) != expected.get(name):
                    raise CheckpointError(
                        f"{folder} is of another network: {name} is {stored.get(name, 'absent')} there,"
                        f" {expected.get(name, 'absent')} here"
                    )
            return checkpointer.restore(folder.absolute(), like)
        except CheckpointError:
            raise
        except Exception as error:  # Orbax and TensorStore raise many types on a damaged folder
            raise CheckpointError(f"{folder} cannot be read: {str(error).splitlines()[0]}") from error


def _shapes(tree: Any) -> dict[str, str]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): f"{np.dtype(leaf.dtype)} {tuple(leaf.shape)}"
        for path, leaf in leaves
    }
