"""The only reader and writer of run folders.

A run is a folder: ``config.yaml`` (resolved), ``metrics.jsonl`` (a line per epoch), ``arrays.npz``,
``checkpoints/``, and, written last and atomically, ``result.json``. A run without ``result.json``
did not finish.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

RESULT_FORMAT = 1

STATUSES = ("completed", "diverged", "failed", "preempted", "missing")


class RecordError(ValueError):
    """A file of a run folder is damaged or is not what this version reads."""


@dataclass(frozen=True)
class Run:
    """What a run folder holds.

    Args:
        path: the folder.
        config: the resolved configuration.
        metrics: one dict per epoch, in order.
        result: final metrics, status and provenance; ``None`` if the run did not finish.
    """

    path: Path
    config: dict[str, Any]
    metrics: list[dict[str, Any]] = field(default_factory=list)
    result: dict[str, Any] | None = None

    @property
    def status(self) -> str:
        """One of ``STATUSES``; ``missing`` where there is no result."""
        return "missing" if self.result is None else self.result["status"]

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of the run by name; empty if it wrote none."""
        path = self.path / "arrays.npz"
        if not path.exists():
            return {}
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return dict(arrays)
        except Exception as error:  # a cut zip file raises one of many types
            raise RecordError(f"{path} is damaged: {error}") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` so that ``path`` holds either what it held before or all of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def start_run(folder: Path, config: Mapping[str, Any]) -> None:
    """Make the run's folder, write ``config.yaml``, and remove what an unfinished run left there.

    Raises:
        FileExistsError: the folder holds a finished run, which is never touched.
    """
    if (folder / "result.json").exists():
        raise FileExistsError(f"{folder} holds a finished run; choose another folder")
    write_config(folder, config)
    for name in ("metrics.jsonl", "arrays.npz"):
        (folder / name).unlink(missing_ok=True)


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Make the run's folder and write ``config.yaml``: from here on the run is planned."""
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
    write_atomically(folder / "config.yaml", text.encode())


def append_metrics(folder: Path, line: Mapping[str, Any]) -> None:
    """Append one epoch's metrics to ``metrics.jsonl``."""
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def write_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write ``arrays.npz``."""
    path = folder / ".arrays.npz"
    np.savez_compressed(path, allow_pickle=False, **arrays)
    os.replace(path, folder / "arrays.npz")


def write_result(folder: Path, result: Mapping[str, Any]) -> None:
    """Write ``result.json``, last: it says that the run is over and how."""
    content = json.dumps({"format": RESULT_FORMAT, **result}, indent=2, allow_nan=False)
    write_atomically(folder / "result.json", content.encode())


def read_run(folder: Path) -> Run:
    """Read a run folder.

    Raises:
        FileNotFoundError: the folder holds no ``config.yaml``.
        RecordError: a file is damaged; the message names it.
    """
    if not (folder / "config.yaml").exists():
        raise FileNotFoundError(f"{folder} is not a run: it holds no config.yaml")
    config = _parse(folder / "config.yaml", yaml.safe_load)
    if not isinstance(config, dict):
        raise RecordError(f"{folder / 'config.yaml'} is damaged: not a mapping")
    metrics_path = folder / "metrics.jsonl"
    result_path = folder / "result.json"
    metrics = _parse(metrics_path, _parse_lines) if metrics_path.exists() else []
    result = _parse(result_path, json.loads) if result_path.exists() else None
    if result is not None:
        if not isinstance(result, dict) or result.get("status") not in STATUSES:
            raise RecordError(f"{result_path} is damaged: it holds no status")
        if result.get("format") != RESULT_FORMAT:
            raise RecordError(
                f"{result_path} has format {result.get('format')!r}; this version reads {RESULT_FORMAT}"
            )
    return Run(folder, config, metrics, result)


def find_runs(folder: Path) -> list[Run]:
    """Every run in ``folder`` and below it, sorted by path.

    Raises:
        FileNotFoundError: there is no such folder.
        RecordError: a file of a run is damaged.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    return [read_run(path.parent) for path in sorted(folder.rglob("config.yaml"))]


def _parse_lines(text: str) -> list[dict[str, Any]]:
    *lines, _ = text.split("\n")  # what follows the last line break was cut off while it was written
    return [json.loads(line) for line in lines]


def _parse(path: Path, parser: Any) -> Any:
    try:
        return parser(path.read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError) as error:
        raise RecordError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
