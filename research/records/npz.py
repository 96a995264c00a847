"""A reader for `.npz` files from unknown sources, which checks every size before it allocates memory."""

import io
import math
import zipfile
from collections.abc import Collection

import numpy as np

MAX_BYTES = 2**30
"""The largest size of all arrays of a file together, in bytes."""

FORMAT = np.lib.format


def read_npz(content: bytes, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Return the arrays of a `.npz` file by name; nothing is unpickled.

    The shape in the header of each array must match the size of its entry in the archive.

    Args:
        content: the bytes of the file.
        names: the names of the arrays to read; `None` reads all.

    Raises:
        ValueError: a shape and a size do not match, an array holds Python objects, or the arrays are larger
            than `MAX_BYTES`.
        Exception: the file is cut or no `.npz` file; the error has one of many types.

    Example:
        >>> file = io.BytesIO()
        >>> np.savez(file, labels=np.arange(3))
        >>> read_npz(file.getvalue())
        {'labels': array([0, 1, 2])}
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        num_bytes = sum(member.file_size for member in members)
        if num_bytes > MAX_BYTES:
            raise ValueError(f"it unpacks to {num_bytes:,} bytes; at most {MAX_BYTES:,} are read")
        found = {}
        for member in members:
            name = member.filename.removesuffix(".npy")
            if names is not None and name not in names:
                continue
            with archive.open(member) as file:
                version = FORMAT.read_magic(file)
                if version != (1, 0):
                    raise ValueError(f"{member.filename} has version {version} of the npy format, not (1, 0)")
                shape, is_transposed, dtype = FORMAT.read_array_header_1_0(file)
                held = member.file_size - file.tell()
                if math.prod(shape) * dtype.itemsize != held or dtype.hasobject:
                    raise ValueError(f"{member.filename} claims {dtype} {shape} and holds {held:,} bytes")
                order = "F" if is_transposed else "C"
                found[name] = np.ndarray(shape, dtype, bytearray(file.read()), order=order)
    return found
