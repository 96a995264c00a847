"""Runs that are trained as one program end as each would have ended alone."""

import json

import pytest

from research.config import Config
from research.data import AUGMENTATIONS
from research.group import run_together
from research.records import read_run
from research.run import run

NUM_STEPS = 12


def config(
    seed=0, model="tiny", augmentations=(), optimizer="adam", learning_rate=0.003, parallel=(), **training
):
    """Three epochs of four steps."""
    return Config.from_dict(
        {
            "seed": seed,
            "model": {"name": model},
            "optimizer": {"name": optimizer, "learning_rate": learning_rate},
            "data": {"train_limit": 140, "augmentations": list(augmentations)},
            "parallel": dict(parallel),
            "training": {"epochs": 3, "batch_size": 32, "replicas": 3, "scan_steps": 3} | training,
        }
    )


def alone(config: Config) -> Config:
    values = config.to_dict()
    values["training"]["replicas"] = values["parallel"]["mesh"]["replica"] = 1
    return Config.from_dict(values)


def what_is_left(folder):
    """All that a run leaves but its seconds: metrics, result, arrays, parameters."""
    record = read_run(folder)
    result = dict(record.result or {})
    for key in ("seconds", "images_per_s", "temporary_bytes", "provenance", "files"):
        result.pop(key, None)
    lines = [{key: value for key, value in line.items() if key != "seconds"} for line in record.metrics]
    files = sorted((folder / "checkpoints" / "final").rglob("d/*"))
    arrays = {name: (array.shape, array.tobytes()) for name, array in record.arrays().items()}
    return json.dumps([result, lines]), arrays, len(files)


CASES = [
    {},
    {"optimizer": "sgd"},
    {"optimizer": "rmsprop", "augmentations": AUGMENTATIONS},
    {"model": "simple_cnn"},
    {"keep": "last", "accumulate": 2},
]


@pytest.mark.parametrize("settings", CASES, ids=str)
def test_each_run_ends_with_the_bits_of_one_that_is_alone(settings, tmp_path):
    runs = {tmp_path / f"{seed}": config(seed, **settings) for seed in range(3)}
    outcomes = run_together(runs)
    for folder, each in runs.items():
        assert outcomes[folder]["status"] == "completed"
        run(alone(each), tmp_path / "alone" / folder.name)
        assert what_is_left(folder) == what_is_left(tmp_path / "alone" / folder.name)
