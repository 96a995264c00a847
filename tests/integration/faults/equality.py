"""When two runs are the same run."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from research.records import read_run
from research.runs.load import load_trained


def assert_same_run(whole: Path, other: Path) -> None:
    """Hold two runs equal to the bit: parameters, arrays, metrics and results; but not their seconds."""
    runs = [read_run(whole), read_run(other)]
    lines = [[dict(line, seconds=0) for line in run.metrics] for run in runs]
    assert lines[0] == lines[1]
    assert_same_bits(*(run.arrays() for run in runs))
    assert_same_bits(*(load_trained(run.path).params for run in runs))
    results = [run.outcome.to_dict() for run in runs]
    for key in ("status", "test_accuracy", "test_loss", "validation_loss", "best_epoch", "epochs"):
        assert results[0][key] == results[1][key], key


def assert_same_bits(tree: Any, other: Any) -> None:
    """Hold two trees of arrays equal: structure, types, shapes and bytes."""
    described = [
        jax.tree.map(lambda leaf: (leaf.dtype, leaf.shape, np.asarray(leaf).tobytes()), each)
        for each in (tree, other)
    ]
    assert described[0] == described[1]
