"""A cache of decoded images as `.npy` files, so that images are not decoded at every start."""

import hashlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from research.data.dataset import Split
from research.data.source import Source
from research.utils.errors import first_line, reason_of
from research.utils.files import write_atomically


def checksum(source: Source) -> str:
    """Return the sha256, in hexadecimal digits, of the dtypes, shapes and bytes of all splits."""
    digest = hashlib.sha256()
    for array in (np.asarray(part) for split in source.splits.values() for part in split):
        digest.update(array_header(array.dtype, array.shape))
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def array_header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """Return the bytes that a checksum takes before the bytes of an array: its dtype and its shape."""
    return f"{dtype.str}{shape}".encode()


def kept_arrays(path: Path, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file, or make the arrays and write the file.

    A warning says that a file is damaged or cannot be written; then the arrays are made.

    Args:
        path: the path of the file. Its name must be different for every result of `make`.
        make: a function that returns the arrays by name.
    """
    if path.exists():
        try:
            with np.load(path, allow_pickle=False) as arrays:  # the checksums in the file are compared
                return dict(arrays)
        except Exception as error:  # a damaged file raises one of many types
            message = f"{path} is damaged and is made again: {first_line(error)}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
    arrays = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **arrays))
    except OSError as error:
        message = f"{path} cannot be written ({reason_of(error)}), so every start makes it again"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return arrays


def read_cached(folder: Path, decode: Callable[[], Source]) -> tuple[Source, str]:
    """Return the source that is cached in a folder, or decode it now and cache it there.

    The name of the folder must be different for every result of `decode`. Then two processes that write at
    the same time write the same bytes, and each file is replaced as a whole. The checksum is written last and
    checked at every reading. If it does not match, the source is decoded again. If the folder cannot be
    written, a warning says so, and the source is returned without being cached.

    Args:
        folder: the folder of the cache.
        decode: a function that reads and decodes the source.

    Returns:
        The source and its `checksum`.
    """
    if (folder / "meta.json").exists():
        try:
            return _read(folder)
        except Exception as error:  # a damaged .npy or .json raises one of many types
            message = f"the cached arrays in {folder} are damaged and are made again: {first_line(error)}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
    source = decode()
    digest = checksum(source)
    try:
        _write(folder, source, digest)
    except OSError as error:
        reason = reason_of(error)
        message = f"decoded images cannot be kept in {folder} ({reason}), so every start decodes them again"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return source, digest


def _read(folder: Path) -> tuple[Source, str]:
    """Return the cached source and its checksum, or raise an error if a file is damaged."""
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    splits = {}
    for name in meta.get("splits", ("train", "test")):  # older versions knew only these two
        # The files are mapped first, since then a header that claims more than the file holds is refused
        # before memory is allocated.
        paths = [folder / f"{name}_{part}.npy" for part in Split._fields]
        maps = [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths]
        splits[name] = Split(*(np.array(array) for array in maps))
    names, damaged = tuple(meta["class_names"]), tuple((*each,) for each in meta.get("damaged", ()))
    source = Source(splits["train"], splits.get("test"), names, splits.get("validation"), damaged)
    digest = checksum(source)
    if digest != meta["checksum"]:
        raise ValueError(f"sha256 is {digest}, was {meta['checksum']}")
    return source, digest


def _write(folder: Path, source: Source, digest: str) -> None:
    """Write the arrays of the source, and then its checksum and class names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, split in source.splits.items():
        for part, array in split._asdict().items():
            path = folder / f"{name}_{part}.npy"
            write_atomically(path, lambda file, array=array: np.save(file, array, allow_pickle=False))
    facts = {"class_names": source.class_names, "damaged": source.damaged}
    meta = {"checksum": digest, "splits": list(source.splits)} | facts
    write_atomically(folder / "meta.json", json.dumps(meta, ensure_ascii=False).encode())
