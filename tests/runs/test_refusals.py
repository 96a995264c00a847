"""A refusal of any kind changes nothing on disk."""

import itertools
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from research import records
from research.config import Config, ConfigError
from research.data import DataError
from research.records import OccupiedError
from research.records.lock import LockedError, hold
from research.runs.preemption import StopOnSignal
from research.runs.run import run
from research.sweeps.vectorized import run_together
from research.training.checkpoint import CheckpointError
from research.utils.files import seal, unseal


def config(**values) -> Config:
    training = {"epochs": 3, "batch_size": 32, "scan_steps": 1, "checkpoint_every": 3}
    base = {"model": {"name": "tiny"}, "data": {"train_limit": 140}, "training": training}
    return Config.from_dict(base | {"training": training | values.pop("training", {})} | values)


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> Path:
    """A folder with a finished run, and one that was preempted after eight steps of twelve."""
    folder, calls = tmp_path_factory.mktemp("examples"), itertools.count(1)
    run(config(), folder / "finished")
    stop = StopOnSignal(lambda: signal.SIGTERM if next(calls) >= 8 else None)
    assert run(config(), folder / "preempted", [stop]).status == "preempted"
    return folder


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder below a folder, with its bytes."""
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in paths}


def steps(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").glob("step-*"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def of_format_2(folder: Path) -> None:
    path = folder / "result.json"
    path.write_text(path.read_text().replace('"format": 3', '"format": 2'))


def of_a_newer_format(folder: Path) -> None:
    for path in steps(folder):
        manifest = path / "manifest.json"
        manifest.write_text(seal(unseal(manifest.read_text()) | {"format": 9}))


def alone(folder: Path, name: str, content: str = "{}") -> None:
    """Leave one file of another program in the folder."""
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / name).write_text(content)


Refusal = tuple[str, Callable[[Path], object], dict[str, Any], bool, type[Exception], str]

nothing: Callable[[Path], object] = lambda folder: None  # noqa: E731

# the example, what is changed in it, the configuration, resume, the error and its message
REFUSALS: dict[str, Refusal] = {
    "finished": ("finished", nothing, {}, False, FileExistsError, "holds a finished run"),
    "finished, to resume": ("finished", nothing, {}, True, FileExistsError, "holds a finished run"),
    "damaged result": (
        *("finished", lambda folder: cut(folder / "result.json"), {}, False),
        *(OccupiedError, "result.json is damaged.*; choose another folder"),
    ),
    "damaged result, to resume": (
        *("finished", lambda folder: cut(folder / "result.json"), {}, True),
        *(OccupiedError, "result.json is damaged.*; choose another folder"),
    ),
    "result of another version": (
        *("finished", of_format_2, {}, True),
        *(OccupiedError, "it has format 2; this version reads format 3; choose another folder"),
    ),
    "damaged configuration": (
        *("finished", lambda folder: cut(folder / "config.yaml"), {}, True),
        *(OccupiedError, "config.yaml is damaged"),
    ),
    "no configuration": (
        *("finished", lambda folder: (folder / "config.yaml").unlink(), {}, True),
        *(OccupiedError, "config.yaml is missing; choose another folder"),
    ),
    "configuration of another program": (
        *("finished", lambda folder: alone(folder, "config.yaml", "trainer: {}"), {}, True),
        *(OccupiedError, "config.yaml is damaged"),
    ),
    "metrics of another program": (
        *("finished", lambda folder: alone(folder, "metrics.jsonl"), {}, False),
        *(OccupiedError, "holds no config.yaml; choose another folder"),
    ),
    "unfinished, without resume": (
        *("preempted", nothing, {}, False, FileExistsError),
        "holds an unfinished run; resume=true",
    ),
    "another network": (
        *("preempted", nothing, {"model": {"name": "mlp"}}, True),
        *(CheckpointError, "is of another network"),
    ),
    "other data": (
        *("preempted", nothing, {"data": {"train_limit": 140, "test_fraction": 0.3}}, True),
        *(CheckpointError, "run on other data"),
    ),
    "another optimizer": (
        *("preempted", nothing, {"optimizer": {"name": "sgd"}}, True),
        *(CheckpointError, "is of another network"),
    ),
    "checkpoints of a newer format": (
        "preempted",
        of_a_newer_format,
        {},
        True,
        CheckpointError,
        "has format 9",
    ),
    "the newest damaged, the other of another network": (
        *(
            "preempted",
            lambda folder: cut(steps(folder)[-1] / "manifest.json"),
            {"model": {"name": "mlp"}},
            True,
        ),
        *(CheckpointError, "step-000000006 is of another network"),
    ),
    "half a checkpoint beside another network": (
        *("preempted", lambda folder: (folder / "checkpoints" / ".step-000000009.1").mkdir()),
        *({"model": {"name": "mlp"}}, True, CheckpointError, "is of another network"),
    ),
    "too large a batch": (
        *("preempted", nothing, {"training": {"batch_size": 141}}, True),
        *(ConfigError, r"training\.batch_size=141"),
    ),
    "a batch that its parts cannot share": (
        *("preempted", nothing, {"training": {"accumulate": 3}}, True),
        *(ConfigError, r"training\.batch_size=32 is not allowed over 3 parts"),
    ),
    "too many devices": (
        *("preempted", nothing, {"parallel": {"name": "jit", "num_devices": 99}}, True),
        *(ConfigError, "there are"),
    ),
    "no data": (
        *("preempted", nothing, {"data": {"name": "mnist", "dir": "/nowhere"}}, True),
        *(DataError, "mnist is not in /nowhere"),
    ),
    "the start of another network": (
        *("preempted", nothing, {"model": {"name": "mlp"}, "init_from": "{examples}/finished"}, True),
        *(ConfigError, "init_from=.* is of another network"),
    ),
    "no start": (
        *("preempted", nothing, {"init_from": "/nowhere"}, True),
        *(ConfigError, "init_from=/nowhere is not allowed"),
    ),
    "a start that did not complete": (
        *("preempted", nothing, {"init_from": "{examples}/preempted"}, True),
        *(ConfigError, "init_from=.* is not allowed"),
    ),
}


def configured(values: dict[str, Any], examples: Path) -> Config:
    start = {key: value.format(examples=examples) for key, value in values.items() if key == "init_from"}
    return config(**values | start)


@pytest.mark.filterwarnings("ignore:.*continuing from")
@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_leaves_every_byte(examples, tmp_path, name):
    example, change, values, resume, error, message = REFUSALS[name]
    folder = Path(shutil.copytree(examples / example, tmp_path / "run"))
    change(folder)
    before = contents(tmp_path)
    with pytest.raises(error, match=message):
        run(configured(values, examples), folder, resume=resume)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "name", [name for name, refusal in REFUSALS.items() if refusal[4] in (ConfigError, DataError)]
)
def test_a_refused_run_leaves_no_folder(examples, tmp_path, name):
    _, _, values, _, error, message = REFUSALS[name]
    with pytest.raises(error, match=message):
        run(configured(values, examples), tmp_path / "new" / "run")
    assert contents(tmp_path) == {}


def test_a_planned_run_that_is_refused_stays_planned(tmp_path):
    records.write_config(tmp_path, config().to_dict())
    before = contents(tmp_path)
    with pytest.raises(ConfigError):
        run(config(training={"batch_size": 141}), tmp_path)
    assert contents(tmp_path) == before


def test_a_run_that_another_process_works_on_is_left_as_it_is(examples, tmp_path):
    folder = Path(shutil.copytree(examples / "preempted", tmp_path / "run"))
    with hold(folder) as beat:
        beat(3, 12)
        before = contents(tmp_path)
        with pytest.raises(LockedError, match="is being run by process"):
            run(config(), folder, resume=True)
        assert contents(tmp_path) == before


def test_on_a_full_disk_a_run_that_continues_is_left_as_it_is(examples, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(examples / "preempted", tmp_path / "run"))
    before = contents(tmp_path)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            run(config(), folder, resume=True)
    assert contents(tmp_path) == before
    assert run(config(), folder, resume=True).status == "completed"


def test_a_path_may_have_a_backslash(tmp_path):
    assert run(config(), tmp_path / "a\\b").status == "completed"
    assert records.is_finished(tmp_path / "a\\b")


@pytest.mark.parametrize("change", [of_format_2, lambda folder: cut(folder / "result.json")])
def test_a_sweep_leaves_a_finished_run_that_it_cannot_read(examples, tmp_path, change):
    folder = Path(shutil.copytree(examples / "finished", tmp_path / "run"))
    change(folder)
    before = contents(tmp_path)
    result = run_together({folder: config()})[folder]
    assert result.status == "failed"
    assert "choose another folder" in str(result.error)
    assert contents(tmp_path) == before


def test_files_of_others_among_the_checkpoints_are_kept(examples, tmp_path):
    folder = Path(shutil.copytree(examples / "preempted", tmp_path / "run"))
    others = [
        folder / "checkpoints" / name for name in (".snapshot", "step-000000008.bak", "step-best", "notes")
    ]
    for path in others:
        path.mkdir()
        (path / "note").write_text("of others")
    assert run(config(), folder, resume=True).status == "completed"
    assert all((path / "note").read_text() == "of others" for path in others)


def test_a_run_whose_folder_is_removed_leaves_nothing_that_would_refuse_the_next(examples, tmp_path):
    folder, calls = tmp_path / "run", itertools.count(1)

    def remove() -> None:
        if next(calls) == 2:
            shutil.rmtree(folder)
            (folder / "checkpoints").mkdir(parents=True)  # as a checkpoint does that was just being written

    with pytest.raises(FileNotFoundError) as raised:
        run(config(), folder, [StopOnSignal(remove)])
    assert raised.value.filename == str(folder / "metrics.jsonl")
    assert run(config(), folder, resume=True).status == "completed"
