"""The arrays of checkpoints of format 1, which Orbax wrote. This module only reads them."""

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp


def read_signatures(folder: Path) -> dict[str, list[Any]]:
    """Return the dtype and the shape of each array of a checkpoint, by name.

    Raises:
        ValueError: the chunks of an array are larger than the array. A chunk is unpacked as a whole.
        Exception: the checkpoint cannot be read; the error has one of many types.
    """
    with _checkpointer() as checkpointer:
        metadata: Any = checkpointer.metadata(folder.absolute() / "arrays").item_metadata
    stored = metadata.tree
    for name, array in stored.items():
        chunk = getattr(array.storage, "chunk_shape", None) or ()
        if math.prod(chunk) > max(math.prod(array.shape), 1):
            raise ValueError(f"{name} is {array.dtype} {tuple(array.shape)} in chunks of {chunk}")
    return {name: [str(np.dtype(array.dtype)), list(array.shape)] for name, array in stored.items()}


def read_arrays(folder: Path, expected: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of a checkpoint that have the names, the shapes and the dtypes of `expected`."""
    with _checkpointer() as checkpointer:  # Orbax reads onto the host if it is given NumPy arrays
        args = ocp.args.PyTreeRestore(dict(expected), partial_restore=True)
        return checkpointer.restore(folder.absolute() / "arrays", args=args)


@contextmanager
def _checkpointer() -> Iterator[ocp.Checkpointer]:
    """Yield an Orbax checkpointer that waits for no other process, and prints no error that it raises."""
    index = jax.process_index()
    options = ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"process_{index}"
    )
    logger = logging.getLogger("absl")
    logger.addFilter(_nothing)
    try:
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(), multiprocessing_options=options) as checkpointer:
            yield checkpointer
    finally:
        logger.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    """Let no record through."""
    return False
