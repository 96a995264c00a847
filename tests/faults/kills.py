"""SIGKILL at a random moment: nothing is told, nothing can be written; what is on the disk must do."""

import atexit
import random
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

from research.records import read_run
from research.trained import load_trained
from tests.faults.processes import QUICK, finish, kill, start, wait_for


def kill_run(rng: random.Random, folder: Path) -> None:
    """Kill a run once, anywhere between its first file and its end, and go on with it."""
    whole, seconds = whole_run()
    process = start("train.py", *QUICK, "run=cut", folder=folder)
    wait_for((folder / "cut" / "running.json").exists, process)
    time.sleep(rng.uniform(0, seconds))
    kill(process)
    finished = stamps(folder)
    started = (folder / "cut" / "config.yaml").exists()
    code, out, err = finish(
        start("train.py", "run=cut", "resume=true", *([] if started else QUICK), folder=folder)
    )
    assert code == 0, err or out
    assert_same_run(whole, folder / "cut")
    assert finished.items() <= stamps(folder).items(), "a finished run was run again"


def stamps(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """When each result below a folder was written, and what it says."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("result.json")}


@cache
def whole_run() -> tuple[Path, float]:
    """The run that nobody kills, and how many seconds it takes from its first file to its end."""
    temporary = tempfile.TemporaryDirectory(prefix="fault-whole-", ignore_cleanup_errors=True)
    atexit.register(temporary.cleanup)
    folder = Path(temporary.name)
    for name in ("cold", "whole"):  # the second finds its programs compiled, as the killed ones do
        process = start("train.py", *QUICK, f"run={name}", folder=folder)
        wait_for((folder / name / "running.json").exists, process)
        began = time.monotonic()
        code, _, err = finish(process)
        assert code == 0, err
        seconds = time.monotonic() - began
    return folder / "whole", seconds


def assert_same_run(whole: Path, other: Path) -> None:
    """Hold two runs equal to the bit: parameters, arrays, metrics and results; but not their seconds."""
    runs = [read_run(whole), read_run(other)]
    lines = [[dict(line, seconds=0) for line in run.metrics] for run in runs]
    assert lines[0] == lines[1]
    assert_same_bits(*(run.arrays() for run in runs))
    parameters = [
        jax.tree.map(lambda leaf: np.asarray(leaf).tobytes(), load_trained(run.path).params) for run in runs
    ]
    assert parameters[0] == parameters[1]
    results = [run.result or {} for run in runs]
    for key in ("status", "test_accuracy", "test_loss", "validation_loss", "best_epoch", "epochs"):
        assert results[0][key] == results[1][key], key


def assert_same_bits(tree: Any, other: Any) -> None:
    described = [
        jax.tree.map(lambda leaf: (leaf.dtype, leaf.shape, np.asarray(leaf).tobytes()), each)
        for each in (tree, other)
    ]
    assert described[0] == described[1]
