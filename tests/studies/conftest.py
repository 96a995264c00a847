"""Synthetic run folders, written through `research.records`."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from research import records

DEPTHS = ("depth 1", "depth 2", "depth 3")


def plan(arm: str, arms: Iterable[str] = DEPTHS, **changes: Any) -> dict[str, Any]:
    return {
        "name": "depth",
        "question": "How does test accuracy depend on depth?",
        "axis": "model.depth",
        "arm": arm,
        "arms": list(arms),
        "reference": "depth 2",
    } | changes


def write_run(
    folder: Path,
    study: dict[str, Any] | None,
    seed: int = 0,
    accuracy: float = 0.9,
    *,
    status: str = "completed",
    error: str | None = None,
    epochs: int = 4,
    model: dict[str, Any] | None = None,
    data: str = "digits",
    started: str = "2026-01-01T00:00:00",
    arrays: bool = False,
    finished: bool = True,
    checksum: str = "f00d",
    measurements: dict[str, float] | None = None,
    learning_rate: float = 0.001,
    init_from: str | None = None,
    **data_keys: Any,
) -> Path:
    config = {
        "seed": seed,
        "model": model or {"name": "plain", "depth": int(study["arm"].split()[-1]) if study else 1},
        "data": {"name": data, "dir": None, **data_keys},
        "optimizer": {"name": "adam", "learning_rate": learning_rate, "weight_decay": 0.0},
        "training": {"epochs": 20, "patience": 3},
        "study": study,
        "init_from": init_from,
    }
    records.write_config(folder, config)
    (Path(folder) / "metrics.jsonl").touch()
    depth = config["model"].get("depth", 1)
    for epoch in range(1, epochs + 1):
        rest = np.exp(-epoch / 2)
        line = {"train_loss": 2 * rest, "validation_loss": 0.2 + 2 * rest}
        line |= {"train_accuracy": 1 - rest / 2, "validation_accuracy": accuracy - rest / 2}
        line = {key: float(value + 0.003 * seed) for key, value in line.items()}
        records.append_metrics(folder, {"epoch": epoch, "step": 10 * epoch, "seconds": 1.0 * epoch, **line})
    if arrays:
        records.write_arrays(folder, synthetic_arrays(seed, accuracy))
    if not finished:
        return folder
    completed = status == "completed"
    records.write_result(
        folder,
        records.RunResult(
            status,
            error,
            test_accuracy=accuracy if completed else None,
            test_loss=0.3 if completed else None,
            validation_accuracy=accuracy if completed else None,
            validation_loss=0.3 if completed else None,
            epochs=epochs,
            best_epoch=epochs,
            num_parameters=16_010 + 35_000 * (depth - 1),
            seconds=records.Seconds(2.5 - min(seed, 2), 3.0 * depth + 0.1 * seed, 9.0),
            images_per_s=1500.0,
            measurements=measurements or {},
            provenance={
                "commit": "abc1234",
                "dirty": False,
                "versions": {"jax": "0.10.1", "jaxlib": "0.10.1"},
                "python": "3.11.7",
                "xla_flags": "",
                "device": "cpu",
                "num_devices": 1,
                "data_checksum": checksum,
                "started": started,
            },
        ),
    )
    return folder


def synthetic_arrays(seed: int, accuracy: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, 300).astype(np.int32)
    predicted = np.where(rng.random(300) < accuracy, labels, (labels + rng.integers(1, 4, 300)) % 10)
    logits = rng.normal(size=(300, 10)).astype(np.float32)
    logits[np.arange(300), predicted] += rng.uniform(3, 6, 300).astype(np.float32)
    y, x = np.mgrid[:8, :8]
    mistakes = np.flatnonzero(predicted != labels)[:24]
    image = np.exp(-((x - 3.5) ** 2 + (y - 3.5) ** 2) / 8)[..., None].astype(np.float32)
    return {
        "test_logits": logits,
        "test_labels": labels,
        "first_kernels": rng.normal(size=(3, 3, 1, 16)).astype(np.float32),
        "image": image,
        "mistakes": mistakes,
        "mistake_images": rng.random((len(mistakes), 8, 8, 1)).astype(np.float32),
        "feature_map/block1": image * rng.normal(size=16).astype(np.float32),
        "feature_map/block2": image[::2, ::2] * rng.normal(size=32).astype(np.float32),
    }


def write_depth_study(folder: Path, num_seeds: int = 8, **options: Any) -> Path:
    """Three arms over shared seeds; depth 3 is better than depth 2 by more than its noise."""
    rng = np.random.default_rng(0)
    for depth, mean in ((1, 0.93), (2, 0.96), (3, 0.975)):
        for seed in range(num_seeds):
            accuracy = float(np.clip(mean + 0.004 * np.sin(seed) + rng.normal(0, 0.002), 0, 1))
            run = folder / f"depth={depth},seed={seed}"
            write_run(run, plan(f"depth {depth}"), seed, accuracy, **options)
    return folder


@pytest.fixture(scope="session")
def write() -> Callable[..., Path]:
    """`write(folder, study, seed, accuracy, **options)` writes one run."""
    return write_run


@pytest.fixture(scope="session")
def make_plan() -> Callable[..., dict[str, Any]]:
    """`make_plan(arm, arms, **changes)` returns the study section of a config."""
    return plan


@pytest.fixture(scope="session")
def depth_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete study of three depths and eight seeds, with arrays; read only."""
    return write_depth_study(tmp_path_factory.mktemp("depth"), arrays=True)
