"""Files that are not as they were written: cut off at a random byte, or with one bit flipped."""

import itertools
import random
import shutil
import signal
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from research.config import Config
from research.records import RecordError
from research.runs.preemption import StopOnSignal
from research.runs.run import evaluate, run
from research.studies.report.write import write_report
from research.training.checkpoint import CheckpointError
from tests.integration.faults.equality import assert_same_run
from tests.integration.faults.examples import kept_folder

RECORDS = ("config.yaml", "metrics.jsonl", "result.json", "arrays.npz")

CONFIG = {
    "model": {"name": "tiny"},
    "data": {"train_limit": 140},
    "training": {"epochs": 3, "batch_size": 32, "scan_steps": 1, "checkpoint_every": 3},
}

NUM_STEPS = 12


def damage(rng: random.Random, folder: Path) -> None:
    """Damage one file of a run; whoever reads it must say so, and nobody may give another number."""
    rng.choice((damage_before_report, damage_before_evaluation, damage_before_resuming))(rng, folder)


def damage_before_report(rng: random.Random, folder: Path) -> None:
    """The report names the file and writes no table."""
    copy = shutil.copytree(examples() / "finished", folder / "run")
    path = damaged(rng, [copy / name for name in RECORDS])
    assert_named(path, lambda: write_report(folder))
    assert not list(folder.glob("re*.*")), "a report was written"


def damage_before_evaluation(rng: random.Random, folder: Path) -> None:
    """The evaluation names the file."""
    copy = shutil.copytree(examples() / "finished", folder / "run")
    used = [copy / name for name in RECORDS[:3]]
    path = damaged(rng, [*used, *files(copy / "checkpoints" / "final")])
    assert_named(path, lambda: evaluate(copy))


def damage_before_resuming(rng: random.Random, folder: Path) -> None:
    """The run goes on, from an older checkpoint where it needs one, and ends with the same bits."""
    copy = shutil.copytree(examples() / "interrupted", folder / "run")
    path = damaged(rng, files(copy))
    newest = max((copy / "checkpoints").iterdir())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(Config.from_dict(CONFIG), copy, resume=True)
    said = [str(warning.message) for warning in caught if warning.category is RuntimeWarning]
    if newest in path.parents:
        assert len(said) == 1, said
        assert str(path) in said[0], said
        assert "continuing from step-000000006" in said[0], said
    else:
        assert said == []
    assert_same_run(examples() / "finished", copy)


@cache
def examples() -> Path:
    """A folder with a finished run, and one that was interrupted after eight steps of twelve."""
    folder, calls = kept_folder("damage"), itertools.count(1)
    run(Config.from_dict(CONFIG), folder / "finished")
    stop = lambda: signal.SIGTERM if next(calls) >= 8 else None  # noqa: E731
    run(Config.from_dict(CONFIG), folder / "interrupted", callbacks=[StopOnSignal(stop)])
    return folder


def files(folder: Path) -> list[Path]:
    """The files below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def damaged(rng: random.Random, paths: list[Path]) -> Path:
    """Damage one of some files; gives its path."""
    path = rng.choice([path for path in paths if path.stat().st_size])
    content = bytearray(path.read_bytes())
    if rng.random() < 0.5:
        del content[rng.randrange(len(content)) :]
    else:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return path


def assert_named(path: Path, reader: Callable[[], Any]) -> None:
    """Hold a reader to an error of one line that names a damaged file."""
    try:
        said = f"nothing, and gave {reader()}"
    except (RecordError, CheckpointError) as error:
        said = str(error)
    assert str(path) in said, f"{path.name} is damaged, and the reader said {said}"
    assert "\n" not in said
