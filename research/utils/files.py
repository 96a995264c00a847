"""Files that hold all of what was written or none of it, and that show when they were damaged since."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHECKSUM = "sha256"


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` so that ``path`` holds either what it held before or all of it.

    Raises:
        OSError: it cannot be written; the error names ``path``.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
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
    """The sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(values: Mapping[str, Any]) -> str:
    """``values`` as JSON, with a checksum of them.

    Raises:
        ValueError: a number in it is not finite.

    Example:
        >>> unseal(seal({"status": "completed"}))
        {'status': 'completed'}
    """
    return json.dumps({**values, CHECKSUM: _checksum(values)}, indent=2, allow_nan=False)


def unseal(text: str) -> dict[str, Any]:
    """The values of ``seal``.

    Raises:
        ValueError: the text is not what ``seal`` wrote.

    Example:
        >>> unseal(seal({"seed": 1}).replace("1", "2", 1))
        Traceback (most recent call last):
        ...
        ValueError: its checksum does not match
    """
    values = json.loads(text)
    if not isinstance(values, dict) or values.pop(CHECKSUM, None) != _checksum(values):
        raise ValueError("its checksum does not match")
    if seal(values) != text:  # 1E-05 for 1e-05
        raise ValueError("it is not as it was written")
    return values


def _checksum(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, allow_nan=False).encode()).hexdigest()
