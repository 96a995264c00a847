"""The lock of a run's folder: one process works on a run at a time.

The system releases the lock when the process ends, however it ends.
"""

import contextlib
import fcntl
import json
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from research.utils.files import made_folder

NAME = "running.json"
"""Name of the file that is locked; it also says how far the run is."""

ATTEMPTS = 5
"""Number of attempts to take the lock, which `heartbeat` in another process also holds for a moment."""


class LockedError(BlockingIOError):
    """Another process works on the run."""


@contextmanager
def hold(folder: str | Path) -> Iterator[Callable[[int, int], None]]:
    """Hold the lock of a run's folder, and yield the function `beat(step, num_steps)`.

    `beat` writes to `running.json` how far the run is. Ownership is a file lock, not a timestamp, so a clock
    change cannot give the folder to two processes. If the folder is new and the block writes nothing into it,
    it is removed again.

    Raises:
        LockedError: another process holds the lock.
    """
    folder = Path(folder)
    path = folder / NAME
    with made_folder(folder):
        descriptor = _lock(path)

        def beat(step: int, num_steps: int) -> None:
            state = {"pid": os.getpid(), "host": socket.gethostname(), "time": time.time()}
            content = json.dumps(state | {"step": step, "num_steps": num_steps}).encode()
            with contextlib.suppress(OSError):  # if the disk is full, the run itself reports it
                os.pwrite(descriptor, content, 0)
                os.ftruncate(descriptor, len(content))

        beat(0, 0)
        try:
            yield beat
        finally:
            path.unlink(missing_ok=True)
            os.close(descriptor)


def heartbeat(folder: str | Path) -> dict[str, Any] | None:
    """Return what `beat` wrote last, if a process holds the lock of a run's folder, or else `None`.

    The keys are `pid`, `host`, `time`, `step` and `num_steps`.
    """
    try:
        with (Path(folder) / NAME).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _parse(file.read())
    except OSError:
        pass
    return None


def _lock(path: Path) -> int:
    for _ in range(ATTEMPTS):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            time.sleep(0.02)
            continue
        except OSError as error:
            message = f"{path.parent} cannot be locked ({error.strerror}): start no other process on it"
            warnings.warn(message, RuntimeWarning, stacklevel=4)
            return descriptor
        # the process that held it may have removed the file between the two calls
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)
    holder = heartbeat(path.parent) or {}
    who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
    raise LockedError(f"{path.parent} is being run by {who}; choose another folder or wait for it")


def _parse(content: bytes) -> dict[str, Any]:
    try:
        return json.loads(content)
    except ValueError:  # the other process is writing it
        return {}
