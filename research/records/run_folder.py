"""The only reader and writer of run folders.

A run is a folder: `config.yaml` (resolved), `metrics.jsonl` (a line per epoch), `arrays.npz`,
`checkpoints/`, and, written last and atomically, `result.json`. A run without `result.json`
did not finish. The first line of `config.yaml` is the checksum of the rest. `result.json` holds its own
checksum and those of the other files, so a damaged file is never read as if it were whole.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from research.records.npz import read_npz
from research.records.result import FINISHED, RESULT_FORMAT, RunResult
from research.utils.files import seal, sha256, unseal, write_atomically

NOT_IN_THE_RESULT = (
    "data.dir",
    "data.cache_dir",
    "training.checkpoint_every",
    "training.keep_checkpoints",
    "training.runs_per_program",
    "parallel.mesh.run",
    "distributed",
    "logging",
    "debug",
)
"""Keys of a configuration that change no number of a run: the folder of the data, the number of checkpoints,
the other runs of the same program, and the processes."""

CHECKSUM_LINE = "# sha256 "


class RecordError(ValueError):
    """A file of a run's folder is damaged, or this version cannot read it."""


@dataclass(frozen=True)
class Run:
    """The content of a run's folder.

    Args:
        path: the folder.
        config: the resolved configuration.
        metrics: one dict per epoch, in order.
        result: the outcome; `None` if the run did not finish.
        files: sha256 of each file of the run, by name, as they were when the result was written.
    """

    path: Path
    config: dict[str, Any]
    metrics: list[dict[str, Any]] = field(default_factory=list)
    result: RunResult | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def outcome(self) -> RunResult:
        """The result, or one with the status "missing" if the run did not finish."""
        return self.result or RunResult("missing", "the run did not finish")

    @property
    def status(self) -> str:
        """The status of the outcome, one of `STATUSES`."""
        return self.outcome.status

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of the run by name; the dict is empty if the run wrote none."""
        path = self.path / "arrays.npz"
        if not path.exists() and path.name not in self.files:
            return {}
        content = _read_bytes(path, self.files)
        try:
            return read_npz(content)
        except Exception as error:  # a cut zip file raises one of many types
            raise RecordError(f"{path} is damaged: {error}") from error


def start_run(folder: str | Path, config: Mapping[str, Any]) -> None:
    """Make the run's folder, write `config.yaml`, and remove the files that an unfinished run left there.

    Raises:
        FileExistsError: the folder holds a finished run, which is never touched.
    """
    folder = Path(folder)
    if is_finished(folder):
        raise FileExistsError(f"{folder} holds a finished run; choose another folder")
    write_config(folder, config)
    for name in ("result.json", "metrics.jsonl", "arrays.npz"):
        (folder / name).unlink(missing_ok=True)


def is_finished(folder: str | Path, statuses: Sequence[str] = FINISHED) -> bool:
    """Return whether the folder holds a run with one of the statuses, whose files are undamaged."""
    try:
        return read_run(folder).status in statuses
    except (FileNotFoundError, RecordError):
        return False


def write_config(folder: str | Path, config: Mapping[str, Any]) -> None:
    """Make the run's folder and write `config.yaml`; such a run is planned."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
    first = f"{CHECKSUM_LINE}{hashlib.sha256(text.encode()).hexdigest()}\n"
    write_atomically(folder / "config.yaml", (first + text).encode())


def write_metrics(folder: str | Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write `metrics.jsonl` with the metrics of the epochs before the one at which training begins.

    Args:
        folder: the folder of the run.
        lines: the metrics of each epoch.
    """
    content = "".join(json.dumps(line) + "\n" for line in lines)
    write_atomically(Path(folder) / "metrics.jsonl", content.encode())


def append_metrics(folder: str | Path, line: Mapping[str, Any]) -> None:
    """Append one epoch's metrics to `metrics.jsonl`.

    Raises:
        OSError: the file cannot be written; the error names it.
    """
    path = Path(folder) / "metrics.jsonl"
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:  # the error of a full disk does not name the file
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_arrays(folder: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write `arrays.npz`."""
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    write_atomically(Path(folder) / "arrays.npz", content.getvalue())


def write_result(folder: str | Path, result: RunResult) -> None:
    """Write `result.json`, which holds the result of the run and the checksums of the run's other files.

    It is written after all other files, so a folder that has it holds a run that is over.

    Raises:
        FileNotFoundError: there is no `config.yaml`, because the folder was removed in the meantime.
    """
    config, *others = (Path(folder) / name for name in ("config.yaml", "metrics.jsonl", "arrays.npz"))
    files = {path.name: sha256(path) for path in (config, *(path for path in others if path.exists()))}
    content = seal(result.to_dict() | {"files": files})
    write_atomically(Path(folder) / "result.json", content.encode())


def read_run(folder: str | Path) -> Run:
    """Return the content of a run's folder.

    Raises:
        FileNotFoundError: the folder holds no `config.yaml`.
        RecordError: a file is damaged; the message names it.
    """
    folder = Path(folder)
    config_path = _config_path(folder)
    result_path = folder / "result.json"
    result, files = _read(result_path, {}, _parse_result) if result_path.exists() else (None, {})
    config = _read(config_path, files, _parse_config)
    metrics_path = folder / "metrics.jsonl"
    has_metrics = metrics_path.exists() or metrics_path.name in files
    metrics = _read(metrics_path, files, _parse_lines) if has_metrics else []
    return Run(folder, config, metrics, result, files)


def read_config(folder: str | Path) -> dict[str, Any]:
    """Return the configuration of a run, whether it has finished or not.

    Raises:
        FileNotFoundError: the folder holds no `config.yaml`.
        RecordError: the file is damaged.
    """
    return _read(_config_path(folder), {}, _parse_config)


def parameters_checksum(folder: str | Path) -> str:
    """Return the sha256 of the parameters that a completed run kept, in hexadecimal digits.

    It is read from the manifest of `checkpoints/final`, where `training.checkpoint` wrote it.

    Raises:
        RecordError: the folder holds no such parameters.
    """
    path = Path(folder) / "checkpoints" / "final" / "manifest.json"
    try:
        return str(unseal(path.read_text(encoding="utf-8"))["meta"]["sha256"])
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path} is damaged, or an earlier version wrote it") from error


def find_runs(folder: str | Path) -> list[Run]:
    """Return every run in `folder` and below it, sorted by path.

    Raises:
        FileNotFoundError: there is no such folder.
        RecordError: a file of a run is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    return [read_run(path.parent) for path in sorted(folder.rglob("config.yaml"))]


def _parse_result(text: str) -> tuple[RunResult, dict[str, str]]:
    """Return the result and the checksums of the run's files."""
    values = json.loads(text)
    if not isinstance(values, dict) or "status" not in values:
        raise ValueError("it holds no status")
    if values.get("format") == RESULT_FORMAT:  # another format is refused by from_dict, with both numbers
        values = unseal(text)
    files = values.pop("files", {})
    return RunResult.from_dict(values), files


def _config_path(folder: str | Path) -> Path:
    path = Path(folder) / "config.yaml"
    if not path.exists():
        raise FileNotFoundError(f"{folder} is not a run: it holds no config.yaml")
    return path


def _parse_config(text: str) -> dict[str, Any]:
    first, _, rest = text.partition("\n")
    if first != f"{CHECKSUM_LINE}{hashlib.sha256(rest.encode()).hexdigest()}":
        raise ValueError("its first line is not the checksum of the rest")
    config = yaml.safe_load(rest)
    if not isinstance(config, dict):
        raise ValueError("not a mapping")
    return config


def _parse_lines(text: str) -> list[dict[str, Any]]:
    *lines, _ = text.split("\n")  # the text after the last line break is an unfinished line
    return [json.loads(line) for line in lines]


def _read(path: Path, files: Mapping[str, str], parser: Callable[[str], Any]) -> Any:
    content = _read_bytes(path, files)
    try:
        return parser(content.decode())
    except (ValueError, yaml.YAMLError) as error:
        raise RecordError(f"{path} is damaged: {str(error).splitlines()[0]}") from error


def _read_bytes(path: Path, files: Mapping[str, str]) -> bytes:
    if path.name in files and not path.exists():
        raise RecordError(f"{path} is missing")
    content = path.read_bytes()
    if path.name in files and files[path.name] != hashlib.sha256(content).hexdigest():
        raise RecordError(f"{path} is damaged: its checksum does not match that in result.json")
    return content
