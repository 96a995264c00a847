"""A run that is interrupted and goes on ends with the bits of one that was not."""

import itertools
import json
import signal
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest

from research.config import Config
from research.data import AUGMENTATIONS
from research.data.augmentation import NEED_COLOR
from research.parallel import STRATEGIES
from research.records import read_run
from research.runs.preemption import StopOnSignal
from research.runs.run import run
from research.training import checkpoint
from research.training.checkpoint import CheckpointError
from research.training.optimizers import ONLY_SCHEDULE, OPTIMIZERS
from research.training.schedules import SCHEDULES

NUM_STEPS = 12
RESNET = {"name": "simple_resnet", "widths": [4, 8], "blocks": 1, "dropout": 0.1, "stochastic_depth": 0.2}
REGULARIZED = {"name": "adam", "sam": 0.05, "l1": 1e-4, "gradient_noise": 1e-4, "max_norm": 3.0}

PRUNED = {"amount": 0.5, "by": "channel", "from_epoch": 2, "until_epoch": 3}

GREY = tuple(name for name in AUGMENTATIONS if name not in NEED_COLOR)
"""The augmentations for images of one channel."""


def config(
    optimizer: Any = "adam",
    schedule="cosine",
    model="tiny",
    augmentations=(),
    parallel="single",
    loss: Any = "cross_entropy",
    **training,
) -> Config:
    """Three epochs of four steps."""
    return Config.from_dict(
        {
            "model": RESNET if model == "resnet" else {"name": model},
            "optimizer": optimizer,
            "schedule": schedule,
            "loss": loss,
            "data": {"train_limit": 140, "augmentations": list(augmentations)},
            "parallel": {"name": parallel, "num_devices": 1 if parallel == "single" else 4},
            "training": {"epochs": 3, "batch_size": 32, "scan_steps": 1, "xla_optimization_level": 0}
            | training,
        }
    )


def interrupted_after(steps: int):
    """A callback to which SIGTERM seems to come during the step of that number."""
    calls = itertools.count(1)
    return StopOnSignal(lambda: signal.SIGTERM if next(calls) >= steps else None)


def log(folder: Path) -> list[dict]:
    """``metrics.jsonl`` without the seconds, which the clock decides."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def arrays(folder: Path) -> bytes:
    """All arrays of the run, the parameters that were evaluated, and what is stored about the images."""
    files = sorted(read_run(folder).arrays().items())
    manifest = checkpoint.read_meta(folder / "checkpoints" / "final")
    assert manifest.keys() == {"sha256", "inputs"}
    return b"".join(name.encode() + array.tobytes() for name, array in files) + json.dumps(manifest).encode()


def assert_same_run(folder: Path, other: Path) -> None:
    assert log(folder) == log(other)
    assert arrays(folder) == arrays(other)
    results = [read_run(path).outcome.to_dict() for path in (folder, other)]
    for key in ("status", "test_accuracy", "test_loss", "validation_loss", "best_epoch", "epochs"):
        assert results[0][key] == results[1][key]


CASES = [
    pytest.param(
        {"optimizer": optimizer, "schedule": schedule, "augmentations": augmentations},
        steps,
        id=f"{optimizer}-{schedule}-{'-'.join(augmentations) or 'plain'}-{steps}",
    )
    for optimizer, schedule, augmentations, steps in zip(
        list(OPTIMIZERS)[:7],  # the others are among the settings below
        itertools.cycle(list(SCHEDULES)[:6]),
        itertools.cycle([(), ("flip",), ("crop",), ("flip", "crop")]),
        itertools.cycle([1, 4, 5, 11, NUM_STEPS]),  # within an epoch, at its end, at the end
        strict=False,
    )
]


@pytest.mark.parametrize(("settings", "steps"), CASES)
def test_an_interrupted_run_ends_with_the_same_bits(settings, steps, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(config(**settings), whole)
    result = run(config(**settings), cut, callbacks=[interrupted_after(steps)])
    assert result.status == "preempted"
    assert result.error == f"SIGTERM after {steps} of {NUM_STEPS} steps"
    assert run(config(**settings), cut, resume=True).status == "completed"
    assert_same_run(whole, cut)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("augmentations", [(), GREY])
def test_every_combination_goes_on(optimizer, schedule, augmentations, tmp_path):
    if schedule != ONLY_SCHEDULE.get(optimizer, schedule):
        pytest.skip("the configuration is refused")
    settings = {"optimizer": optimizer, "schedule": schedule, "augmentations": augmentations}
    test_an_interrupted_run_ends_with_the_same_bits(settings, 6, tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"model": "simple_cnn"}, marks=pytest.mark.slow),  # dropout
        {"keep": "last"},
        {"window": 3},
        {
            "augmentations": (
                "alternating_flip",
                "rotate",
                "flip",
                "elastic",
                "rand_augment",
                "erase",
                "mixup",
            )
        },
        *({"parallel": strategy} for strategy in STRATEGIES if strategy != "single"),
        {"patience": 1, "optimizer": "sgd"},
        {"optimizer": "schedule_free_adamw", "schedule": "constant", "parallel": "shard_map"},
        {
            "optimizer": {
                "name": "muon",
                "lookahead": 5,
                "layer_decay": 0.5,
                "groups": [{"match": "logits", "optimizer": "prodigy"}],
            },
            "schedule": {"name": "plateau", "patience": 1, "tolerance": 0.9},
            "parallel": "pmap",
        },
        {"ema": 0.9, "optimizer": REGULARIZED, "loss": {"name": "focal"}, "prune": PRUNED},
        {"swa_from": 2, "model": "resnet", "parallel": "jit"},
        pytest.param({"model": "modern_cnn"}, marks=pytest.mark.slow),  # batch normalisation
    ],
    ids=str,
)
def test_it_holds_for_other_networks_and_settings(settings, tmp_path):
    test_an_interrupted_run_ends_with_the_same_bits(settings, 6, tmp_path)


def test_a_run_interrupted_at_every_step_ends_with_the_same_bits(tmp_path):
    run(config(), tmp_path / "whole")
    for _ in range(NUM_STEPS):
        result = run(config(), tmp_path / "cut", resume=True, callbacks=[interrupted_after(1)])
        assert result.status == "preempted"
    run(config(), tmp_path / "cut", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_a_run_goes_on_over_another_number_of_devices(tmp_path):
    run(config(), tmp_path / "one")
    run(config(), tmp_path / "four", callbacks=[interrupted_after(6)])
    run(config(parallel="shard_map"), tmp_path / "four", resume=True)
    losses = [[line["train_loss"] for line in log(tmp_path / name)] for name in ("one", "four")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.fixture
def interrupted(tmp_path):
    """A run that ended after ten steps with checkpoints after steps 9 and 10."""
    folder = tmp_path / "run"
    run(
        config(checkpoint_every=3, keep_checkpoints=2),
        folder,
        [interrupted_after(10)],
    )
    assert [path.name for path in saved(folder)] == ["step-000000009", "step-000000010"]
    return folder


def saved(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").iterdir())


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(interrupted, tmp_path):
    run(config(), tmp_path / "whole")
    damage(saved(interrupted)[1] / "arrays.npz")
    with pytest.warns(RuntimeWarning, match=r"step-000000010/.* is damaged.*continuing from step-000000009"):
        run(config(), interrupted, resume=True)
    assert_same_run(tmp_path / "whole", interrupted)


def test_where_all_are_damaged_the_run_begins_again(interrupted, tmp_path):
    run(config(), tmp_path / "whole")
    for folder in saved(interrupted):
        damage(folder / "manifest.json")
    with pytest.warns(RuntimeWarning) as warned:
        run(config(), interrupted, resume=True)
    assert [str(warning.message).rpartition("; ")[2] for warning in warned] == [
        "continuing from step-000000009",
        "continuing from the beginning",
    ]
    assert_same_run(tmp_path / "whole", interrupted)


def test_a_checkpoint_of_another_network_is_refused(interrupted):
    message = "step-000000010 is of another network: state/params/dense1/bias is absent there, float32"
    with pytest.warns(RuntimeWarning), pytest.raises(CheckpointError, match=message):
        run(config(model="mlp"), interrupted, resume=True)


def test_a_checkpoint_of_a_newer_format_is_passed_over(interrupted, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", checkpoint.FORMAT + 1)
    newest = saved(interrupted)[1]
    checkpoint.save(newest, {"x": jnp.zeros(1)})
    monkeypatch.undo()
    with pytest.warns(RuntimeWarning, match="000010 has format 3; this version reads 1 and 2; continuing"):
        assert run(config(), interrupted, resume=True).status == "completed"


def test_an_unfinished_run_is_not_begun_again_by_accident(interrupted):
    with pytest.raises(FileExistsError, match="holds an unfinished run; resume=true continues it"):
        run(config(), interrupted)


def test_a_finished_run_with_checkpoints_is_called_finished(tmp_path):
    run(config(checkpoint_every=3), tmp_path / "run")
    assert [path.name for path in saved(tmp_path / "run")][-1].startswith("step-")
    with pytest.raises(FileExistsError, match="holds a finished run"):
        run(config(), tmp_path / "run")


def test_a_checkpoint_of_other_data_is_refused(interrupted):
    for path in saved(interrupted):
        meta = checkpoint.read_meta(path)
        assert len(meta["data_checksum"]) == 64
    changed = Config.from_dict(config().to_dict() | {"data": {"train_limit": 140, "test_fraction": 0.3}})
    with pytest.warns(RuntimeWarning), pytest.raises(CheckpointError, match="run on other data"):
        run(changed, interrupted, resume=True)
