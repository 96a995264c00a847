"""Functions that write a file as a whole or not at all, and that notice when a file was damaged later."""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

CHECKSUM = "sha256"


def write_atomically(path: Path, content: bytes | Callable[[IO[bytes]], object]) -> None:
    """Write `content` to a file, which holds either its old content or all of the new content at any time.

    Args:
        path: the file.
        content: the bytes of the file, or a function that writes them to an open file.

    Raises:
        OSError: the file cannot be written. The error names `path`.
    """
    # Each thread of each process writes to a file of its own.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with temporary.open("wb") as file:
            content(file) if callable(content) else file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sha256(path: Path) -> str:
    """Return the sha256 of the bytes of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(values: Mapping[str, Any]) -> str:
    """Return `values` as JSON text that also holds a checksum of them.

    Raises:
        ValueError: a number in `values` is not finite.

    Example:
        >>> unseal(seal({"status": "completed"}))
        {'status': 'completed'}
    """
    return json.dumps({**values, CHECKSUM: _checksum(values)}, indent=2, allow_nan=False)


def unseal(text: str) -> dict[str, Any]:
    """Return the values from which `seal` made the text.

    Raises:
        ValueError: the text is not what `seal` returned.

    Example:
        >>> unseal(seal({"seed": 1}).replace("1", "2", 1))
        Traceback (most recent call last):
        ...
        ValueError: its checksum does not match
    """
    values = json.loads(text)
    if not isinstance(values, dict) or values.pop(CHECKSUM, None) != _checksum(values):
        raise ValueError("its checksum does not match")
    if seal(values) != text:  # a damaged byte may leave the value as it was, for example in 1E-05 for 1e-05
        raise ValueError("it is not as it was written")
    return values


def _checksum(values: Mapping[str, Any]) -> str:
    """Return the sha256 of the values as JSON with sorted keys, in hexadecimal digits."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, allow_nan=False).encode()).hexdigest()
