"""Files that are written as a whole or not at all, with checksums that show later damage."""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

END = "\n}"
SEAL = ',\n  "sha256": "'
"""The text before the checksum; JSON escapes line breaks, so no value can hold it."""


def write_atomically(path: Path, content: bytes | Callable[[IO[bytes]], object]) -> None:
    """Write `content` to a file. At any time, the file holds either its old or all of its new content.

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
    """Return `values`, at least one, as JSON text whose last key is the checksum of the text without it.

    Raises:
        ValueError: a number in `values` is not finite.

    Example:
        >>> unseal(seal({"status": "completed"}))
        {'status': 'completed'}
    """
    text = json.dumps(values, indent=2, allow_nan=False)
    return text.removesuffix(END) + SEAL + hashlib.sha256(text.encode()).hexdigest() + f'"{END}'


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
    content, _, checksum = text.rpartition(SEAL)
    content += END
    if checksum != hashlib.sha256(content.encode()).hexdigest() + f'"{END}':
        raise ValueError("its checksum does not match")
    return json.loads(content)
