"""The search for runs in folders and below them."""

import os
import warnings
from pathlib import Path

from research.records.run_folder import Run, is_run, read_run


def find_runs(*folders: str | Path) -> list[Run]:
    """Return every run in the folders and below them, sorted by path; see `run_folders`.

    Raises:
        FileNotFoundError: there is no such folder.
        RecordError: a file of a run is damaged.
    """
    return [read_run(folder) for folder in run_folders(*folders)]


def run_folders(*folders: str | Path) -> list[Path]:
    """Return the folder of every run in some folders and below them, sorted.

    Symbolic links are followed. A run that is reached in several ways counts once, and files that belong to
    no run of ours are ignored.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    found: dict[Path, Path] = {}  # by the path of config.yaml without links
    visited = set[Path]()
    for top in map(Path, folders):
        if not top.is_dir():
            raise FileNotFoundError(f"there is no folder {top}")
        for place, names, _ in os.walk(top, followlinks=True, onerror=_warn):
            folder = Path(place)
            if (real := folder.resolve()) in visited:
                names.clear()
                continue
            visited.add(real)
            names.sort()
            if is_run(folder):
                found.setdefault((folder / "config.yaml").resolve(), folder)
                names[:] = [name for name in names if name != "checkpoints"]
    return sorted(found.values())


def _warn(error: OSError) -> None:
    warnings.warn(f"{error.filename} cannot be read: {error.strerror}", RuntimeWarning, stacklevel=3)
