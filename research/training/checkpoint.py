"""Checkpoints: trees of arrays on disk, written as a whole or not at all, with checksums.

The arrays of a checkpoint are one `.npz` file without compression. Orbax, which wrote the checkpoints of
earlier versions, takes 20 to 30 ms for a checkpoint of a small network, and 2 s to import.
"""

import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import jax
import jax.numpy as jnp
import numpy as np

from research.layers.base import by_path
from research.utils.errors import first_line
from research.utils.files import seal, sha256, unseal, write_atomically

FORMAT, ORBAX_FORMAT = 2, 1
"""The version of the format of checkpoints that this code writes, and that of Orbax, which it also reads."""

MANIFEST = "manifest.json"
"""The file of a checkpoint that lists the arrays, and the checksums of the other files."""

ARRAYS = "arrays.npz"
"""The file of a checkpoint that holds the arrays by their path in the tree."""


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
        arrays = _by_name(tree)
        write_atomically(temporary / ARRAYS, partial(_write_arrays, arrays))
        content = {
            "format": FORMAT,
            "meta": dict(meta or {}),
            "arrays": {name: _signature(array) for name, array in arrays.items()},
            "files": {ARRAYS: sha256(temporary / ARRAYS)},
        }
        write_atomically(temporary / MANIFEST, seal(content).encode())
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(temporary, folder)
    except (OSError, ValueError) as error:
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
    manifest = _read_manifest(folder)
    expected = {name: leaf for name, leaf in _by_name(like, shapes=True).items() if wanted(name)}
    if manifest["format"] == ORBAX_FORMAT:
        from research.training.orbax_format import read_arrays, read_signatures  # importing Orbax takes 2 s

        try:
            stored = read_signatures(folder)
        except Exception as error:  # Orbax and TensorStore raise many types
            raise DamagedError(f"{folder} cannot be read: {first_line(error)}") from error
    else:
        stored, read_arrays = manifest["arrays"], _read_arrays
    for name in filter(wanted, dict.fromkeys([*expected, *stored])):
        here = _signature(expected[name]) if name in expected else None
        if here != stored.get(name):
            there = _describe(stored.get(name))
            raise CheckpointError(
                f"{folder} is of another network: {name} is {there} there, {_describe(here)} here"
            )
    try:
        arrays = read_arrays(folder, expected)
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
        digest.update(f"{name} {_describe(_signature(array))} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def read_meta(folder: str | Path) -> dict[str, Any]:
    """Return the further values that `save` wrote, after checking every file of the checkpoint.

    Raises:
        CheckpointError: there is no checkpoint, or it has another format.
        DamagedError: a file is damaged. The message names it.
    """
    return _read_manifest(Path(folder))["meta"]


def _read_manifest(folder: Path) -> dict[str, Any]:
    """Return the content of the manifest of a checkpoint, after checking every file of the checkpoint."""
    path = folder / MANIFEST
    if not folder.is_dir():
        raise CheckpointError(f"there is no checkpoint {folder}")
    try:
        manifest = unseal(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path} is damaged: {first_line(error)}") from error
    if manifest["format"] not in (FORMAT, ORBAX_FORMAT):
        raise CheckpointError(
            f"{folder} has format {manifest['format']}; this version reads {ORBAX_FORMAT} and {FORMAT}"
        )
    for name, digest in manifest["files"].items():
        if not (folder / name).is_file():
            raise DamagedError(f"{folder / name} is missing")
        if sha256(folder / name) != digest:
            raise DamagedError(f"{folder / name} is damaged: its checksum does not match")
    return manifest


def _write_arrays(arrays: Mapping[str, np.ndarray], file: IO[bytes]) -> None:
    """Write arrays to a `.npz` file. Those of a type that NumPy lacks, such as bfloat16, are bytes there."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)


def _read_arrays(folder: Path, expected: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of a checkpoint that have the names, the shapes and the dtypes of `expected`."""
    found = {}
    with zipfile.ZipFile(folder / ARRAYS) as archive:
        for name, like in expected.items():
            with archive.open(f"{name}.npy") as member:
                version = np.lib.format.read_magic(member)
                if version != (1, 0):
                    raise ValueError(f"{name} has version {version} of the npy format, not (1, 0)")
                shape, is_transposed, dtype = np.lib.format.read_array_header_1_0(member)
                if (shape, is_transposed, dtype.itemsize) != (like.shape, False, like.dtype.itemsize):
                    raise ValueError(f"{name} is {dtype} {shape} in its header")
                content = bytearray(member.read(like.nbytes))
            found[name] = np.frombuffer(content, like.dtype).reshape(shape)
    return found


def _by_name(tree: Any, shapes: bool = False) -> dict[str, Any]:
    """Return the arrays of a tree by their path, on the host and in the order of the tree.

    Typed keys are replaced by the integers that they hold. With `shapes`, the arrays have the shapes and
    dtypes of the tree, but no values.
    """
    named = by_path(tree)
    for name, leaf in named.items():
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.eval_shape(jax.random.key_data, leaf) if shapes else jax.random.key_data(leaf)
        # A broadcast zero has a shape but takes no memory.
        named[name] = np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape) if shapes else np.asarray(leaf)
    return named


def _placed(array: np.ndarray, like: Any) -> Any:
    """Return the array on the devices of `like`, as typed keys if `like` holds typed keys."""
    placed: Any = jax.device_put(array, like.sharding) if isinstance(like, jax.Array) else array
    if jnp.issubdtype(like.dtype, jax.dtypes.prng_key):
        # JAX cannot put typed keys on the devices of other processes, but it can put their integers.
        return jax.random.wrap_key_data(jnp.asarray(placed), impl=jax.random.key_impl(like))
    return placed


def _signature(array: Any) -> list[Any]:
    """Return the dtype and the shape of an array, as they are in a manifest."""
    return [str(np.dtype(array.dtype)), list(array.shape)]


def _describe(signature: Any) -> str:
    """Return a dtype and a shape as text, or "absent" if there are none."""
    return "absent" if signature is None else f"{signature[0]} {tuple(signature[1])}"


def _reason(error: Exception) -> str:
    """Return why a write failed, in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return first_line(error)
