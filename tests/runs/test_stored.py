"""Runs whose images stay on disk end with the bits of runs whose images are in memory."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from research.config import Config, ConfigError
from research.data import DataError
from research.data.stored import read_ahead
from research.records import read_run
from research.runs.run import evaluate, run
from research.training.callback import Callback
from tests.runs.test_resume import assert_same_run, interrupted_after


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Sixty images of two classes: 42 to train on, 6 for validation and 12 for testing."""
    rng, root = np.random.default_rng(0), tmp_path_factory.mktemp("stored") / "photos"
    for label, name in enumerate(("dark", "light")):
        (root / name).mkdir(parents=True)
        for index in range(30):
            pixels = rng.integers(40 * label, 160 + 40 * label, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def config(photos):
    """Two epochs of five steps, in windows of three steps unless the images are in memory."""

    def config(in_memory=False, workers=0, **training):
        data = {"source": "folder", "path": str(photos), "image_size": [8, 8], "augmentations": ["flip"]}
        training = {"epochs": 2, "batch_size": 8, "scan_steps": 1, "xla_optimization_level": 0} | training
        return Config.from_dict(
            {
                "model": {"name": "tiny"},
                "data": data | {"in_memory": in_memory, "workers": workers},
                "training": training | {"window": None if in_memory else 3},
            }
        )

    return config


@pytest.fixture(scope="module")
def in_memory(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "in_memory"
    run(config(in_memory=True), folder)
    return folder


@pytest.mark.parametrize("steps", [2, 5])  # within a window, and at the end of an epoch
def test_a_run_from_disk_that_was_interrupted_ends_as_one_in_memory(config, in_memory, tmp_path, steps):
    stopped = run(config(), tmp_path / "run", callbacks=[interrupted_after(steps)])
    assert stopped.error == f"SIGTERM after {steps} of 10 steps"
    run(config(), tmp_path / "run", resume=True)
    assert_same_run(in_memory, tmp_path / "run")
    outcome = read_run(tmp_path / "run").outcome
    assert evaluate(tmp_path / "run")["test_accuracy"] == outcome.test_accuracy


@pytest.mark.slow
def test_a_worker_process_reads_the_same_images_of_all_epochs(config, in_memory, tmp_path, monkeypatch):
    starts = []
    monkeypatch.setattr(
        "research.parallel.feed.read_ahead", lambda *args: starts.append(args) or read_ahead(*args)
    )
    run(config(workers=1), tmp_path / "run")
    assert len(starts) == 1
    assert_same_run(in_memory, tmp_path / "run")


def test_how_images_are_read_is_no_part_of_what_a_run_is(config):
    values = [config(), config(workers=2)]
    assert len({each.fingerprint() for each in values}) == 1


def test_what_cannot_be_is_said_in_a_sentence(config, photos, tmp_path):
    together = config(runs_per_program=2)
    together = replace(together, training=replace(together.training, window=None))
    with pytest.raises(ConfigError, match=r"training\.runs_per_program=2 is not allowed for images that are"):
        run(together, tmp_path / "run")
    for data in ({"source": "npz", "path": "x.npz"}, {"name": "digits"}):
        with pytest.raises(ConfigError, match=r"data\.in_memory=false is not allowed with data=(npz|digits)"):
            Config.from_dict({"data": data | {"in_memory": False}})


def test_an_image_that_vanishes_while_training_is_named(config, photos, tmp_path):
    class Remove(Callback):
        def on_steps(self, position, count):
            for path in (photos / "dark").glob("*.png"):
                path.unlink(missing_ok=True)

    with pytest.raises(DataError, match=r"dark/\d+\.png cannot be used: No such file or directory"):
        run(config(epochs=3), tmp_path / "run", callbacks=[Remove()])
