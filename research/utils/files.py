"""Files that are written as a whole or not at all, with checksums that show later damage."""

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

END = "\n}"
SEAL = ',\n  "sha256": "'
"""The text before the checksum; JSON escapes line breaks, so no value can hold it."""


Content = bytes | Callable[[IO[bytes]], object]
"""The bytes of a file, or a function that writes them to an open file."""


def write_atomically(path: Path, content: Content) -> None:
    """Write `content` to a file. At any time, the file holds either its old or all of its new content.

    Raises:
        OSError: the file cannot be written. The error names `path`.
    """
    with replaced(path, content):
        pass


@contextlib.contextmanager
def replaced(path: Path, content: Content) -> Iterator[None]:
    """Write `content` beside a file, and replace the file by it if the block raises no exception.

    Raises:
        OSError: the content cannot be written, so the block does not run. The error names `path`.
    """
    # Each thread of each process writes to a file of its own.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with naming(path), temporary.open("wb") as file:
            content(file) if callable(content) else file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield
        with naming(path):
            os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Make an `OSError` of the block name a file, as the error of a full disk does not."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextlib.contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make a folder and its parents. Those that are still empty at the end of the block are removed again."""
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()


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
