"""Runs that learn from the outputs of the network of another run."""

import shutil
import signal
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.config import Config, ConfigError
from research.data import Preprocess
from research.runs.build import check
from research.runs.load import load_trained
from research.runs.preemption import StopOnSignal
from research.runs.run import load_program, run
from research.runs.teacher import load_teacher
from research.training import checkpoint


def config(**values) -> Config:
    base = {
        "model": {"name": "tiny", "widths": [2, 2]},
        "data": {"train_limit": 64},
        "training": {"epochs": 2, "batch_size": 32, "xla_optimization_level": 0},
    }
    return Config.from_dict(base | values)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "run"
    run(config(model={"name": "plain", "depth": 1, "widths": [4]}, data={"train_limit": 48}), folder)
    return folder


def test_a_student_is_interrupted_and_ends_with_the_same_bits(teacher, tmp_path):
    student = config(loss={"name": "distillation", "teacher": str(teacher)})
    check(student)
    whole = run(student, tmp_path / "whole")
    steps = iter(range(9))
    stop = StopOnSignal(lambda: signal.SIGTERM if next(steps) >= 1 else None)
    assert run(student, tmp_path / "cut", [stop]).status == "preempted"
    (saved,) = (tmp_path / "cut" / "checkpoints").glob("step-*")
    assert not list(saved.rglob("*teacher*"))
    found = run(student, tmp_path / "cut", resume=True)
    assert (found.test_loss, found.validation_loss) == (whole.test_loss, whole.validation_loss)
    assert (
        whole.provenance["teacher_checksum"] == checkpoint.read_meta(teacher / "checkpoints/final")["sha256"]
    )


def test_the_teacher_sees_images_scaled_as_in_its_training(teacher):
    student = config(loss={"name": "distillation", "teacher": str(teacher)})
    dataset, spec, _ = load_program(student)
    found, arrays = load_teacher(student, dataset)
    assert found == spec.teacher
    trained, images = load_trained(teacher), jnp.asarray(dataset.test.images[:8])
    assert trained.inputs.mean != dataset.mean
    expected, _ = trained.net.apply(
        trained.params, trained.model_state, trained.preprocess(images), train=False
    )
    logits = jax.jit(found.logits)(arrays, Preprocess(dataset.mean, dataset.std)(images))
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_a_teacher_counts_by_its_parameters(teacher, tmp_path):
    shutil.copytree(teacher, tmp_path / "copy")
    names = [str(teacher), str(tmp_path / "copy")]
    configs = [config(loss={"name": "distillation", "teacher": name}) for name in names]
    assert configs[0].fingerprint() == configs[1].fingerprint() != config().fingerprint()


def test_a_folder_that_is_no_teacher_is_refused(teacher, tmp_path):
    with pytest.raises(
        ConfigError, match=r"needs loss\.teacher, the folder of a completed run; give loss\.t"
    ):
        check(config(loss="distillation"))
    nowhere = config(loss={"name": "distillation", "teacher": str(tmp_path / "x")})
    with pytest.raises(ConfigError, match=r"loss\.teacher=.*x is not allowed \(.*No such file"):
        check(nowhere)
    inputs = load_trained(teacher).inputs
    student = config(loss={"name": "distillation", "teacher": str(teacher)})
    other = replace(inputs, class_names=("a", "b"))
    with pytest.raises(ConfigError, match=r"images of .8, 8, 1. with 10 classes, and this run has images of"):
        load_teacher(student, other)
