"""Checkpoints: trees of arrays on disk, written by Orbax as a whole or not at all, with checksums."""

import hashlib
import logging
import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from research.layers.base import by_path
from research.utils.errors import first_line
from research.utils.files import seal, sha256, unseal, write_atomically

FORMAT = 1
"""The version of the format of checkpoints that this code writes and reads."""

MANIFEST = "manifest.json"
"""The file of a checkpoint that lists the checksums of the others."""


class CheckpointError(ValueError):
    """A checkpoint cannot be written, does not exist, or has another structure or format."""


class DamagedError(CheckpointError):
    """A file of a checkpoint is missing or differs from what was written."""


def save(folder: str | Path, tree: Any, meta: Mapping[str, Any] | None = None) -> None:
    """Write a tree of arrays to a folder, which appears as a whole or not at all.

    If the folder exists, it is replaced.

    Args:
        folder: the folder of the checkpoint.
        tree: the tree of arrays.
        meta: further values, which are stored as JSON beside the arrays.

    Raises:
        CheckpointError: the checkpoint cannot be written, for example because the disk is full.
    """
    folder = Path(folder)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        folder.parent.mkdir(exist_ok=True)
        # The parents of the folder are not made, so that a run whose folder was deleted ends with an error.
        temporary.mkdir()
        with _silent(), _checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
            checkpointer.save(temporary.absolute() / "arrays", args=ocp.args.StandardSave(_by_name(tree)))
        files = {str(path.relative_to(temporary)): sha256(path) for path in _synced_files(temporary)}
        content = {"format": FORMAT, "meta": dict(meta or {}), "files": files}
        write_atomically(temporary / MANIFEST, seal(content).encode())
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(temporary, folder)
    except Exception as error:  # Orbax and TensorStore raise many types
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(f"{folder} cannot be written: {_reason(error)}") from error


def restore(folder: str | Path, like: Any, wanted: Callable[[str], bool] = lambda name: True) -> Any:
    """Return the tree of arrays that `save` wrote.

    Args:
        folder: the folder of the checkpoint.
        like: a tree with the expected structure, shapes and dtypes. A checkpoint with other shapes is refused
            before memory is allocated for it. If a leaf is an array on devices, the array that is read is
            placed on the same devices.
        wanted: whether the array of a name is read; the others are neither compared nor read, and the result
            holds the leaves of `like` in their place.

    Raises:
        CheckpointError: there is no checkpoint, or it has another format or another structure. The message
            names the folder and the first array that differs.
        DamagedError: a file is damaged. The message names it.
    """
    folder = Path(folder)
    read_meta(folder)
    expected = {name: leaf for name, leaf in _by_name(like, shapes=True).items() if wanted(name)}
    with _silent(), _checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        try:
            stored = checkpointer.metadata(folder.absolute() / "arrays").item_metadata.tree
            for name in filter(wanted, dict.fromkeys([*expected, *stored])):
                there, here = (_describe(arrays.get(name)) for arrays in (stored, expected))
                if there != here:
                    raise CheckpointError(
                        f"{folder} is of another network: {name} is {there} there, {here} here"
                    )
                # A chunk is unpacked as a whole, so a chunk that is larger than its array must be refused.
                chunk = getattr(stored[name].storage, "chunk_shape", None) or ()
                if math.prod(chunk) > max(math.prod(stored[name].shape), 1):
                    raise DamagedError(f"{folder} cannot be read: {name} is {there} in chunks of {chunk}")
            args = ocp.args.PyTreeRestore(expected, partial_restore=True)
            arrays = checkpointer.restore(folder.absolute() / "arrays", args=args)
        except CheckpointError:
            raise
        except Exception as error:
            raise DamagedError(f"{folder} cannot be read: {first_line(error)}") from error
    leaves, structure = jax.tree.flatten(like)
    named = zip(by_path(like), leaves, strict=True)
    read = [_placed(arrays[name], leaf) if name in expected else leaf for name, leaf in named]
    return jax.tree.unflatten(structure, read)


def checksum(tree: Any) -> str:
    """Return the sha256 of the names, types, shapes and values of a tree's arrays, in hexadecimal digits."""
    digest = hashlib.sha256()
    for name, array in _by_name(tree).items():
        digest.update(f"{name} {_describe(array)} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def read_meta(folder: str | Path) -> dict[str, Any]:
    """Return the further values that `save` wrote, after checking every file of the checkpoint.

    Raises:
        CheckpointError: there is no checkpoint, or it has another format.
        DamagedError: a file is damaged. The message names it.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not folder.is_dir():
        raise CheckpointError(f"there is no checkpoint {folder}")
    try:
        manifest = unseal(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path} is damaged: {first_line(error)}") from error
    if manifest["format"] != FORMAT:
        raise CheckpointError(f"{folder} has format {manifest['format']}; this version reads {FORMAT}")
    for name, digest in manifest["files"].items():
        if not (folder / name).is_file():
            raise DamagedError(f"{folder / name} is missing")
        if sha256(folder / name) != digest:
            raise DamagedError(f"{folder / name} is damaged: its checksum does not match")
    return manifest["meta"]


def _checkpointer(handler: Any) -> ocp.Checkpointer:
    """Return an Orbax checkpointer that waits for no other process."""
    # If there are several processes, each of them reads the checkpoint, and only one writes it.
    index = jax.process_index()
    options = ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"process_{index}"
    )
    # It writes synchronously, since the asynchronous checkpointer gives up if the clock jumps.
    return ocp.Checkpointer(handler, multiprocessing_options=options)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep Orbax from printing the errors that it also raises."""
    _ignore_late_errors()
    logger = logging.getLogger("absl")
    logger.addFilter(_nothing)
    try:
        yield
    finally:
        logger.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    """Let no record through."""
    return False


@cache
def _ignore_late_errors() -> None:
    """Keep Python from printing the errors of writes that fail after `save` has already raised an error.

    TensorStore continues with the other writes after one has failed.
    """
    previous = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if unraisable.object is not None or str(unraisable.exc_value) != "Event loop is closed":
            previous(unraisable)

    sys.unraisablehook = hook
    logging.getLogger("asyncio").addFilter(lambda record: "_open_and_write" not in record.getMessage())


def _by_name(tree: Any, shapes: bool = False) -> dict[str, Any]:
    """Return the arrays of a tree by their path, on the host and in the order of the tree.

    Typed keys are replaced by the integers that they hold. With `shapes`, the arrays have the shapes and
    dtypes of the tree, but no values.
    """
    named = by_path(tree)
    for name, leaf in named.items():
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.eval_shape(jax.random.key_data, leaf) if shapes else jax.random.key_data(leaf)
        # Orbax reads onto the host if it is given NumPy arrays. A broadcast zero has a shape but takes no
        # memory.
        named[name] = np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape) if shapes else np.asarray(leaf)
    return named


def _placed(array: np.ndarray, like: Any) -> Any:
    """Return the array on the devices of `like`, as typed keys if `like` holds typed keys."""
    placed: Any = jax.device_put(array, like.sharding) if isinstance(like, jax.Array) else array
    if jnp.issubdtype(like.dtype, jax.dtypes.prng_key):
        # JAX cannot put typed keys on the devices of other processes, but it can put their integers.
        return jax.random.wrap_key_data(jnp.asarray(placed), impl=jax.random.key_impl(like))
    return placed


def _describe(array: Any) -> str:
    """Return the dtype and the shape of an array, or "absent" if there is none."""
    return "absent" if array is None else f"{np.dtype(array.dtype)} {tuple(array.shape)}"


def _synced_files(folder: Path) -> list[Path]:
    """Return the files below a folder, after writing all of their content to the disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    return files


def _reason(error: Exception) -> str:
    """Return why a write failed, in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # The message of TensorStore is a page long, so only the error code of the system is taken from it.
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(code[1])) if code else first_line(error)
