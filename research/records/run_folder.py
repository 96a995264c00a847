"""The only reader and writer of run folders.

A run is a folder: `config.yaml` (resolved), `metrics.jsonl` (a line per epoch), `arrays.npz`,
`checkpoints/`, and, written last and atomically, `result.json`. A run without `result.json`
did not finish. The first line of `config.yaml` is the checksum of the rest. `result.json` holds its own
checksum and those of the other files, so a damaged file is never read as if it were whole.
"""

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from research.records.layer_statistics import STATISTICS_FILE
from research.records.npz import read_npz
from research.records.result import FINISHED, RESULT_FORMAT, RunResult
from research.records.tracking import TRACKING_FILE
from research.utils.files import SEAL, naming, replaced, seal, sha256, unseal, write_atomically
from research.utils.nested import dotted_keys
from research.utils.yaml_text import read_yaml_sections, write_yaml

CHECKSUM_LINE = "# sha256 "

FILES = ("config.yaml", "metrics.jsonl", "result.json", "arrays.npz")
"""Names of the files of a run, which a run in the same folder would replace."""

CARD = "model_card.md"
"""Name of the file of a model card in the folder of a run."""


class RecordError(ValueError):
    """A file of a run's folder is damaged, or this version cannot read it."""


class OccupiedError(RecordError):
    """A folder holds a run that this version cannot read, or files that belong to no run of ours."""


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

    @property
    def has_arrays(self) -> bool:
        """Whether there is an `arrays.npz`. Without it a run is not damaged, since only figures need it."""
        return (self.path / "arrays.npz").exists()

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of a file such as `statistics.jsonl`; the list is empty if there is none."""
        return _read(self.path / name, self.files, _parse_lines) if (self.path / name).exists() else []

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The configuration as a flat dict with dotted keys."""
        return dotted_keys(self.config)

    def arrays(self, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
        """Return the arrays of the run by name; the dict is empty if there is no `arrays.npz`.

        Args:
            names: the names of the arrays to read; `None` reads all.
        """
        path = self.path / "arrays.npz"
        if not self.has_arrays:
            return {}
        content = _read_bytes(path, self.files)
        try:
            return read_npz(content, names)
        except Exception as error:  # a cut zip file raises one of many types
            raise RecordError(f"{path} is damaged: {error}") from error


def check_folder(folder: str | Path, *, resume: bool = False) -> None:
    """Refuse a folder in which no run may begin or continue.

    Args:
        folder: the folder of the run.
        resume: allow an unfinished run of ours with a damaged file, which the run writes again.

    Raises:
        FileExistsError: the folder holds a finished run.
        OccupiedError: the folder holds a run that this version cannot read, or files of another program.
    """
    folder = Path(folder)
    present = [name for name in FILES if (folder / name).exists()]
    if not present:
        return
    try:
        if present == ["config.yaml"] and _has_checksum(_read_bytes(folder / "config.yaml", {})):
            return  # a planned run
        status = read_run(folder).status
    except (FileNotFoundError, RecordError) as error:
        if resume and is_run(folder) and not _has_ended(folder):
            return
        raise OccupiedError(f"{error}; choose another folder") from error
    if status in FINISHED:
        raise FileExistsError(f"{folder} holds a finished run; choose another folder")


def start_run(
    folder: str | Path,
    config: Mapping[str, Any],
    metrics: Iterable[Mapping[str, Any]] = (),
    *,
    resume: bool = False,
) -> None:
    """Make the run's folder, write `config.yaml` and `metrics.jsonl`, and remove what an unfinished run left.

    Args:
        folder: the folder of the run.
        config: the resolved configuration.
        metrics: the metrics of each epoch before the one at which training begins.
        resume: allow an unfinished run with a damaged file.

    Raises:
        FileExistsError: the folder holds a finished run, which is never touched.
        OccupiedError: the folder holds a run that this version cannot read, or files of another program.
        OSError: a file cannot be written; then all files are as they were.
    """
    folder = Path(folder)
    check_folder(folder, resume=resume)
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(line) + "\n" for line in metrics)
    path, text = folder / "config.yaml", _config_text(config)
    is_same = path.exists() and path.read_bytes() == text  # a planned run
    with (
        contextlib.nullcontext() if is_same else replaced(path, text),
        replaced(folder / "metrics.jsonl", lines.encode()),
    ):
        fresh = () if resume else (STATISTICS_FILE, TRACKING_FILE)
        for name in ("result.json", "arrays.npz", CARD, *fresh):
            (folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def planned(folder: str | Path, config: Mapping[str, Any]) -> Iterator[None]:
    """Write `config.yaml` if there is none, and remove it if the block raises before the run has begun."""
    path = Path(folder) / "config.yaml"
    if is_new := not path.exists():
        write_config(folder, config)
    try:
        yield
    except BaseException:
        if is_new and not path.with_name("metrics.jsonl").exists():
            path.unlink(missing_ok=True)
        raise


def is_finished(folder: str | Path, statuses: Sequence[str] = FINISHED) -> bool:
    """Return whether the folder holds a run with one of the statuses, whose files are undamaged."""
    try:
        return read_run(folder).status in statuses
    except (FileNotFoundError, RecordError):
        return False


def write_config(folder: str | Path, config: Mapping[str, Any]) -> None:
    """Make the run's folder and write `config.yaml`. A run that has only this file is planned."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "config.yaml", _config_text(config))


def append_metrics(folder: str | Path, line: Mapping[str, Any]) -> None:
    """Append one epoch's metrics to `metrics.jsonl`, which `start_run` has made.

    Raises:
        OSError: the file cannot be written, or was removed while the run trained; the error names it.
    """
    path = Path(folder) / "metrics.jsonl"
    with naming(path), open(path, "a", encoding="utf-8", opener=_open_existing) as file:
        file.write(json.dumps(line) + "\n")


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
    names = ("config.yaml", "metrics.jsonl", "arrays.npz", STATISTICS_FILE)
    config, *others = map(Path(folder).joinpath, names)
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


def is_run(folder: Path) -> bool:
    """Return whether a folder holds a run of ours, which may be damaged.

    Either its `config.yaml` begins with our checksum line, or there is a `config.yaml` beside another file of
    a run or the folder of its checkpoints, or its `result.json` or a checkpoint has our checksum.
    """
    config, result, checkpoints = (folder / name for name in ("config.yaml", "result.json", "checkpoints"))
    if not config.is_file():
        sealed = (result, *checkpoints.glob("*/manifest.json"))
        return any(path.is_file() and SEAL.encode() in path.read_bytes() for path in sealed)
    with contextlib.suppress(OSError), config.open("rb") as file:  # another user may own it
        if file.read(len(CHECKSUM_LINE)) == CHECKSUM_LINE.encode():
            return True
    if result.is_file() or (folder / "metrics.jsonl").is_file():
        return True
    # Other programs write checkpoints as files, and ours are folders.
    return checkpoints.is_dir() and all(path.is_dir() for path in checkpoints.iterdir())


def _open_existing(path: str, flags: int) -> int:
    return os.open(path, flags & ~os.O_CREAT)


def _has_ended(folder: Path) -> bool:
    """Return whether a run of which a file is damaged, or has another format, has ended."""
    if any((folder / name).exists() for name in ("arrays.npz", "checkpoints/final")):
        return True
    try:
        values = json.loads((folder / "result.json").read_bytes())
    except (OSError, ValueError):
        return False
    if not isinstance(values, dict):
        return False
    return values.get("format") != RESULT_FORMAT or values.get("status") in FINISHED


def _parse_result(text: str) -> tuple[RunResult, dict[str, str]]:
    """Return the result and the checksums of the run's files."""
    values = json.loads(text)
    if not isinstance(values, dict) or "status" not in values:
        raise ValueError("it holds no status")
    if values.get("format") == RESULT_FORMAT:  # another format is refused by from_dict, with both numbers
        values = unseal(text)
    files = values.pop("files", {})
    return RunResult.from_dict(values), files


def _config_text(config: Mapping[str, Any]) -> bytes:
    text = write_yaml(dict(config))
    return f"{CHECKSUM_LINE}{hashlib.sha256(text.encode()).hexdigest()}\n{text}".encode()


def _config_path(folder: str | Path) -> Path:
    path = Path(folder) / "config.yaml"
    if not path.exists():
        if is_run(path.parent):
            raise RecordError(f"{path} is missing")
        raise FileNotFoundError(f"{folder} is not a run: it holds no config.yaml")
    return path


def _has_checksum(content: bytes) -> bool:
    """Return whether the first line of a `config.yaml` is the checksum of the rest."""
    first, _, rest = content.partition(b"\n")
    return first.decode(errors="replace") == f"{CHECKSUM_LINE}{hashlib.sha256(rest).hexdigest()}"


def _parse_config(text: str) -> dict[str, Any]:
    if not _has_checksum(text.encode()):
        raise ValueError("its first line is not the checksum of the rest")
    config = read_yaml_sections(text)
    if not isinstance(config, dict):
        raise ValueError("not a mapping")
    return config


def _parse_lines(text: str) -> list[dict[str, Any]]:
    *lines, _ = text.split("\n")  # the text after the last line break is an unfinished line
    if any(not line.startswith("{") for line in lines):
        raise ValueError("a line is not a mapping")
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
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror}") from error
    if path.name in files and files[path.name] != hashlib.sha256(content).hexdigest():
        raise RecordError(f"{path} is damaged: its checksum does not match that in result.json")
    return content
