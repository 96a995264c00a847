"""Arrays from a `.npz` file that may be a stranger's: nothing is unpacked before its size is known."""

import io
import math
import zipfile

import numpy as np

MAX_BYTES = 2**30  # of all arrays of a file, unpacked

FORMAT = np.lib.format


def read_npz(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a `.npz` file by name.

    The header of each must claim as many bytes as the archive says that it holds, and all together at most
    `MAX_BYTES`; nothing is unpickled.

    Args:
        content: of the file.

    Raises:
        ValueError: an array claims other sizes than it has, or all of them are too large.
        Exception: of one of many types, for a file that is cut or none at all.

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
        for member in members:
            with archive.open(member) as file:
                version = FORMAT.read_magic(file)
                if version != (1, 0):
                    raise ValueError(f"{member.filename} has version {version} of the npy format, not (1, 0)")
                shape, _, dtype = FORMAT.read_array_header_1_0(file)
                held = member.file_size - file.tell()
            if math.prod(shape) * dtype.itemsize != held:
                raise ValueError(f"{member.filename} claims {dtype} {shape} and holds {held:,} bytes")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)
