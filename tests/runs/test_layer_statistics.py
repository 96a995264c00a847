"""``logging.statistics=true`` measures every layer once per epoch and changes no bit of the run."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from research.config import Config, ConfigError
from research.layers.base import by_path
from research.records import parameters_checksum, read_run
from research.records.layer_statistics import STATISTICS_FILE
from research.runs.callbacks import Callback
from research.runs.continued import continue_run, with_more_epochs
from research.runs.run import load_program, run
from research.training.state import Batch, copy_arrays

QUICK = {
    "model": {"name": "tiny"},
    "data": {"train_limit": 64},
    "training": {"epochs": 3, "batch_size": 16, "checkpoint_every": 6},
    "schedule": "constant",
}
MEASURED = QUICK | {"logging": {"statistics": True}}


class Killed(Callback):
    """Ends a run with an exception after an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch(self, metrics):
        if metrics.epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run with statistics."""
    folder = tmp_path_factory.mktemp("measured") / "run"
    run(Config.from_dict(MEASURED), folder)
    return read_run(folder)


def test_the_run_has_the_same_bits(measured, tmp_path):
    run(Config.from_dict(QUICK), tmp_path / "run")
    usual = read_run(tmp_path / "run")
    assert parameters_checksum(usual.path) == parameters_checksum(measured.path)
    for line, other in zip(usual.metrics, measured.metrics, strict=True):
        assert {**line, "seconds": 0} == {**other, "seconds": 0}
    assert not (usual.path / STATISTICS_FILE).exists()
    assert Config.from_dict(MEASURED).fingerprint() == Config.from_dict(QUICK).fingerprint()


def test_a_line_for_the_start_and_each_epoch_and_an_entry_for_each_layer(measured):
    lines = measured.lines(STATISTICS_FILE)
    assert [(line["epoch"], line["step"]) for line in lines] == [(0, 0), (1, 4), (2, 8), (3, 12)]
    assert list(lines[0]["layers"]) == [
        "conv1",
        "act1",
        "pool1",
        "conv2",
        "act2",
        "pool2",
        "flatten",
        "logits",
    ]
    assert {"mean", "std", "zeros", "saturated", "dead"} == set(lines[0]["layers"]["act1"])
    assert {"mean", "std", "zeros", "size", "gradient", "update", "weight"} == set(
        lines[0]["layers"]["conv1"]
    )
    assert measured.files[STATISTICS_FILE]


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_run_that_was_killed_has_the_lines_of_one_that_was_not(measured, epoch, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(Config.from_dict(MEASURED), tmp_path / "run", [Killed(epoch)])
    run(Config.from_dict(MEASURED), tmp_path / "run", resume=True)
    assert read_run(tmp_path / "run").lines(STATISTICS_FILE) == measured.lines(STATISTICS_FILE)


def test_more_epochs_continue_the_lines(measured, tmp_path):
    folder = tmp_path / "run"
    run(Config.from_dict(MEASURED), folder)
    continue_run(with_more_epochs(folder, Config.from_dict(MEASURED), 4), folder)
    lines = read_run(folder).lines(STATISTICS_FILE)
    assert lines[:4] == measured.lines(STATISTICS_FILE)
    assert [line["epoch"] for line in lines[4:]] == [4]


def test_the_norms_are_those_of_the_training_step():
    optimizer = {"name": "adam", "sam": 0.05}
    data, spec, program = load_program(Config.from_dict(QUICK | {"optimizer": optimizer}))
    state = program.init(jax.random.key(0), jnp.float32(0.01), jnp.float32(0))
    batch = Batch(jnp.asarray(data.train.images[:16]), jnp.asarray(data.train.labels[:16]))
    assert program.measure_layers is not None
    found = program.measure_layers(state, batch, False)
    after, _ = jax.jit(spec.make_train_step())(copy_arrays(state), batch)
    moved = jax.tree.map(jnp.subtract, after.params, state.params)
    for path in ("conv1", "conv2", "logits"):
        assert found[path]["weight"] == pytest.approx(float(optax.tree.norm(state.params[path])), rel=1e-5)
        assert found[path]["update"] == pytest.approx(float(optax.tree.norm(moved[path])), rel=1e-3)
        assert found[path]["size"] == sum(leaf.size for leaf in by_path(state.params[path]).values())
    images = spec.preprocess(batch.images)

    def loss(params):
        logits = spec.net.apply(params, {}, images, train=False)[0]
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels).mean()

    grads = jax.jit(jax.grad(loss))(state.params)
    assert found["conv1"]["gradient"] == pytest.approx(float(optax.tree.norm(grads["conv1"])), rel=1e-4)
    output = spec.net.trace(state.params, {}, images, train=False)[2]["act1"]
    assert found["act1"]["mean"] == pytest.approx(float(np.mean(output)), rel=1e-5)
    assert found["act1"]["zeros"] == pytest.approx(float(np.mean(np.asarray(output) == 0)), rel=1e-5)


def test_trouble_is_said_once(tmp_path):
    values = MEASURED | {"optimizer": {"name": "sgd", "learning_rate": 1e-7}}
    with pytest.warns(RuntimeWarning, match="the updates were small in every epoch; .* in conv1") as said:
        run(Config.from_dict(values), tmp_path / "run")
    assert len(said) == 1


def test_several_processes_are_refused():
    with pytest.raises(ConfigError, match=r"logging\.statistics=true is not allowed with distributed"):
        Config.from_dict(MEASURED | {"distributed": {"mode": "auto"}, "parallel": "jit"})
