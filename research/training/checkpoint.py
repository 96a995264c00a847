"""Arrays on disk, through Orbax, whole or absent, with a checksum of every file."""

import hashlib
import logging
import math
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
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

MANIFEST = "manifest.json"


class CheckpointError(ValueError):
    """A checkpoint cannot be written, is missing, or is of another network or format."""


class DamagedError(CheckpointError):
    """A file of a checkpoint is not what was written."""


def save(folder: Path, tree: Any, meta: Mapping[str, Any] | None = None) -> None:
    """Write a tree of arrays, and JSON beside it, to ``folder``, which appears whole or not at all.

    One that is there is removed just before.

    Raises:
        CheckpointError: it cannot be written, for example on a full disk.
    """
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        folder.parent.mkdir(exist_ok=True)  # but not its parents: a run whose folder was deleted ends
        temporary.mkdir()
        with _silent(), _checkpointer() as checkpointer:
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


def restore(folder: Path, like: Any) -> Any:
    """Read the tree that ``save`` wrote.

    Args:
        folder: where it was written.
        like: a tree of the expected structure, shapes and dtypes; what claims other shapes is refused before
            memory is taken for it; where its leaves are arrays on devices,
            what is read is placed as they are.

    Raises:
        CheckpointError: there is none, or it is of a newer format or another structure; the message names
            the folder and the first array that differs.
        DamagedError: a file is damaged; the message names it.
    """
    read_meta(folder)
    expected = _by_name(like, shapes=True)
    with _silent(), _checkpointer() as checkpointer:
        try:
            stored = checkpointer.metadata(folder.absolute() / "arrays").item_metadata.tree
            for name in dict.fromkeys([*expected, *stored]):
                there, here = (_describe(arrays.get(name)) for arrays in (stored, expected))
                if there != here:
                    raise CheckpointError(
                        f"{folder} is of another network: {name} is {there} there, {here} here"
                    )
                # a chunk is unpacked as a whole, whatever the array has of it
                chunk = getattr(stored[name].storage, "chunk_shape", None) or ()
                if math.prod(chunk) > max(math.prod(stored[name].shape), 1):
                    raise DamagedError(f"{folder} cannot be read: {name} is {there} in chunks of {chunk}")
            arrays = checkpointer.restore(
                folder.absolute() / "arrays", args=ocp.args.StandardRestore(expected)
            )
        except CheckpointError:
            raise
        except Exception as error:
            raise DamagedError(f"{folder} cannot be read: {first_line(error)}") from error
    leaves, structure = jax.tree.flatten(like)
    return jax.tree.unflatten(structure, map(_placed, (arrays[name] for name in expected), leaves))


def checksum(tree: Any) -> str:
    """Return the sha256 of the names, types, shapes and values of a tree's arrays, in hexadecimal digits."""
    digest = hashlib.sha256()
    for name, array in _by_name(tree).items():
        digest.update(f"{name} {_describe(array)} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def read_meta(folder: Path) -> dict[str, Any]:
    """The JSON that was saved beside the arrays, after every file was checked.

    Raises:
        CheckpointError: there is no checkpoint, or it is of a newer format.
        DamagedError: a file is damaged; the message names it.
    """
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


def _checkpointer() -> ocp.Checkpointer:
    # of several processes each reads for itself, and the one that writes waits for no other
    index = jax.process_index()
    options = ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"process_{index}"
    )
    # it does not write behind our back: that one gives up where the clock jumps
    return ocp.Checkpointer(ocp.StandardCheckpointHandler(), multiprocessing_options=options)


@contextmanager
def _silent() -> Iterator[None]:
    """No traceback is printed of what Orbax also raises."""
    _ignore_late_errors()
    logger = logging.getLogger("absl")
    logger.addFilter(_nothing)
    try:
        yield
    finally:
        logger.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return False


@cache
def _ignore_late_errors() -> None:
    """After one write has failed, TensorStore goes on with the others and finds nobody to tell."""
    previous = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if unraisable.object is not None or str(unraisable.exc_value) != "Event loop is closed":
            previous(unraisable)

    sys.unraisablehook = hook
    logging.getLogger("asyncio").addFilter(lambda record: "_open_and_write" not in record.getMessage())


def _by_name(tree: Any, shapes: bool = False) -> dict[str, Any]:
    """The arrays of a tree on the host by their path, in order; typed keys as the integers in them."""
    named = by_path(tree)
    for name, leaf in named.items():
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.eval_shape(jax.random.key_data, leaf) if shapes else jax.random.key_data(leaf)
        # Orbax reads onto the host where it is given NumPy arrays; this one takes no memory
        named[name] = np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape) if shapes else np.asarray(leaf)
    return named


def _placed(array: np.ndarray, like: Any) -> Any:
    placed: Any = jax.device_put(array, like.sharding) if isinstance(like, jax.Array) else array
    if jnp.issubdtype(like.dtype, jax.dtypes.prng_key):  # which cannot be put onto other processes
        return jax.random.wrap_key_data(jnp.asarray(placed), impl=jax.random.key_impl(like))
    return placed


def _describe(array: Any) -> str:
    return "absent" if array is None else f"{np.dtype(array.dtype)} {tuple(array.shape)}"


def _synced_files(folder: Path) -> list[Path]:
    """The files below a folder, each safely on the disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    return files


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # TensorStore's own account is a page long
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(code[1])) if code else first_line(error)
