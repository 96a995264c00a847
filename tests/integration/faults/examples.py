"""Runs that are made once and that all trials of a process compare with or copy."""

import atexit
import tempfile
from pathlib import Path


def kept_folder(name: str) -> Path:
    """A new folder that goes when this process ends."""
    folder = tempfile.TemporaryDirectory(prefix=f"fault-{name}-", ignore_cleanup_errors=True)
    atexit.register(folder.cleanup)
    return Path(folder.name)
