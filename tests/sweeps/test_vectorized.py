"""Runs that are trained as one program end as each would have ended alone."""

import itertools
import json
import signal
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research import records
from research.config import Config
from research.parallel.stacked import stack_runs
from research.records import RunResult, read_run
from research.runs.load import load_trained
from research.runs.preemption import StopOnSignal
from research.runs.run import run
from research.sweeps import vectorized
from research.sweeps.lockstep import Lockstep
from research.sweeps.vectorized import groups, run_together
from research.training.epoch import epoch_order, make_run_steps
from research.training.losses import cross_entropy
from research.training.optimizers import make_optimizer
from research.training.program import RunMany, RunSteps
from research.training.schedules import constant
from research.training.state import Metrics, TrainState, init_state
from research.training.step import make_train_step

NUM_STEPS = 12


def config(
    seed=0, model="tiny", augmentations=(), optimizer="adam", learning_rate=0.003, parallel=None, **training
) -> Config:
    """Three epochs of four steps, in calls of three."""
    return Config.from_dict(
        {
            "seed": seed,
            "model": {"name": model},
            "optimizer": {"name": optimizer, "learning_rate": learning_rate},
            "data": {"train_limit": 140, "augmentations": list(augmentations)},
            "parallel": parallel or {},
            "training": {"epochs": 3, "batch_size": 32, "runs_per_program": 3, "scan_steps": 3} | training,
        }
    )


def run_alone(config: Config, folder: Path) -> Path:
    values = config.to_dict()
    values["training"]["runs_per_program"] = 1
    run(Config.from_dict(values | {"parallel": {}}), folder)
    return folder


def result_of(folder: Path) -> RunResult:
    return read_run(folder).outcome


def assert_same_run(folder: Path, other: Path) -> None:
    """All is equal but the seconds: metrics, result, arrays and parameters."""
    ran, alone = ([result_of(path).to_dict(), *read_run(path).metrics] for path in (folder, other))
    for each in (*ran, *alone):
        for key in ("seconds", "images_per_s", "temporary_bytes", "provenance"):
            each.pop(key, None)
    assert json.dumps(ran) == json.dumps(alone)
    arrays, expected = (read_run(path).arrays() for path in (folder, other))
    assert {name: array.tobytes() for name, array in arrays.items()} == {
        name: array.tobytes() for name, array in expected.items()
    }
    if ran[0]["status"] == "completed":
        params, expected = (load_trained(path).params for path in (folder, other))
        jax.tree.map(np.testing.assert_array_equal, params, expected)


def assert_close(tree, other) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), tree, other)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "momentum", "augmentations": ["flip", "crop"], "keep": "last", "accumulate": 2},
        pytest.param({"model": "simple_cnn", "optimizer": "rmsprop"}, marks=pytest.mark.slow),  # dropout
        pytest.param({"model": "simple_resnet"}, marks=pytest.mark.slow),  # batch normalisation
    ],
    ids=str,
)
def test_each_run_ends_with_the_bits_of_one_that_is_alone(settings, tmp_path):
    runs = {tmp_path / f"{seed}": config(seed, **settings) for seed in range(3)}
    outcomes = run_together(runs)
    for folder, each in runs.items():
        assert outcomes[folder].status == "completed"
        seconds = outcomes[folder].seconds
        assert seconds is not None
        assert seconds.shared_by == 3
        assert read_run(folder).config == each.to_dict()
        assert_same_run(folder, run_alone(each, tmp_path / "alone" / folder.name))


def test_rates_differ_and_neither_one_that_diverges_nor_one_that_stops_early_harms_the_others(tmp_path):
    rates = {"good": 0.003, "wild": 1e30, "still": 1e-12}
    runs = {tmp_path / name: config(learning_rate=rate, patience=1) for name, rate in rates.items()}
    outcomes = run_together(runs)
    assert [outcome.status for outcome in outcomes.values()].count("completed") == 2
    assert outcomes[tmp_path / "wild"].status == "diverged"
    assert outcomes[tmp_path / "still"].epochs == 2
    assert outcomes[tmp_path / "good"].epochs == 3
    for folder, each in runs.items():
        assert_same_run(folder, run_alone(each, tmp_path / "alone" / folder.name))


@pytest.fixture
def interrupt(monkeypatch):
    """Have SIGTERM come when it has been asked for so many times."""

    def interrupt(times: int) -> None:
        calls = itertools.count(1)

        @contextmanager
        def stop(*folders):
            yield StopOnSignal(lambda: signal.SIGTERM if next(calls) > times else None)

        monkeypatch.setattr(vectorized, "stop_on_signal", stop)

    return interrupt


def test_each_run_of_an_interrupted_group_goes_on_alone_or_with_others(tmp_path, interrupt, monkeypatch):
    runs = {tmp_path / f"{seed}": config(seed) for seed in range(3)}
    interrupt(4)  # three runs ask after step 3; of those at step 4 the first goes on, so it is ahead
    outcomes = run_together(runs)
    assert [outcome.error for outcome in outcomes.values()] == [
        f"SIGTERM after {step} of {NUM_STEPS} steps" for step in (7, 4, 4)
    ]
    assert all(read_run(folder).status == "preempted" for folder in runs)
    monkeypatch.undo()
    first, *others = runs
    run(runs[others[-1]], others[-1], resume=True)
    outcomes = run_together({folder: runs[folder] for folder in (first, others[0])})
    assert all(outcome.status == "completed" for outcome in outcomes.values())
    for folder, each in runs.items():
        assert_same_run(folder, run_alone(each, tmp_path / "alone" / folder.name))


def test_a_run_that_fails_is_recorded_and_the_others_go_on(tmp_path, monkeypatch):
    runs = {tmp_path / f"{seed}": config(seed) for seed in range(3)}
    append = records.append_metrics

    def no_space_for_1(folder, line):
        if folder.name == "1":
            raise OSError("no space left")
        append(folder, line)

    monkeypatch.setattr(records, "append_metrics", no_space_for_1)
    outcomes = run_together(runs)
    assert [outcome.status for outcome in outcomes.values()].count("completed") == 2
    assert result_of(tmp_path / "1").error == "OSError: no space left"
    assert_same_run(tmp_path / "2", run_alone(config(2), tmp_path / "alone"))


def test_a_wrong_value_fails_each_run(tmp_path):
    runs = {tmp_path / f"{seed}": config(seed, batch_size=10_000) for seed in range(2)}
    run_together(runs)
    assert ["batch_size=10000 is not allowed" in str(result_of(folder).error) for folder in runs] == [
        True
    ] * 2


@pytest.mark.parametrize(
    ("strategy", "mesh"),
    [
        ("jit", {"run": 2, "data": 2, "model": 2}),
        pytest.param("jit", {"run": 4, "data": 2}, marks=pytest.mark.slow),
        pytest.param("shard_map", {"run": 4, "data": 2}, marks=pytest.mark.slow),
    ],
)
def test_runs_are_spread_over_devices(strategy, mesh, tmp_path):
    parallel = {"name": strategy, "mesh": mesh}
    runs = {tmp_path / f"{seed}": config(seed, parallel=parallel, runs_per_program=4) for seed in range(3)}
    outcomes = run_together(runs)
    for folder, each in runs.items():
        alone = run_alone(each, tmp_path / "alone" / folder.name)
        assert outcomes[folder].test_accuracy == result_of(alone).test_accuracy
        ran, expected = (load_trained(path).params for path in (folder, alone))
        assert_close(ran, expected)


@pytest.mark.parametrize("at_once", [True, False])
def test_the_program_gives_what_one_of_a_run_gives(net, preprocess, digits, assert_same, at_once):
    optimizer = make_optimizer("adam", constant(1))
    run_steps = make_run_steps(make_train_step(net, optimizer, cross_entropy, preprocess))
    keys = jax.random.split(jax.random.key(0), 3)
    states = jax.vmap(lambda key: init_state(net, optimizer, key, (1, 8, 8, 1)))(keys)
    train = digits.train
    orders = jnp.stack([epoch_order(key, 1, len(train.labels), 64) for key in keys])
    live = jnp.array([True, False, True])
    steps = (train.images, train.labels, orders, jnp.int32(2), jnp.int32(12))
    stacked = jax.jit(stack_runs(run_steps, at_once=at_once))(states, *steps, live)
    alone = jax.jit(run_steps)
    for index in (0, 2):
        state, order = jax.tree.map(lambda leaf, i=index: leaf[i], (states, orders))
        expected = alone(state, train.images, train.labels, order, *steps[3:])
        trained = jax.tree.map(lambda leaf, i=index: leaf[i], stacked)
        if at_once:
            assert_close(trained[0].params, expected[0].params)
        else:
            assert_same(trained, expected)
    if not at_once:
        idle = jax.tree.map(lambda leaf: leaf[1], (stacked[0], states))
        assert_same(*idle)


METRICS = Metrics(jnp.zeros(6), jnp.int32(0), jnp.int32(0))
EXAMPLES = (jnp.zeros(1), jnp.zeros(1), None)


def state_at(step: int) -> TrainState:
    return TrainState(jnp.int32(step), {}, {}, (), jax.random.key(0))


def in_lockstep(run_many: RunMany, works: list[Callable[[RunSteps], Any]]) -> list[Any]:
    """What the works return, each of which is given the steps of its run."""
    lockstep = Lockstep()

    def in_turn(index: int, work: Callable[[RunSteps], Any]) -> Any:
        lockstep.meet(index)
        return work(partial(lockstep.run_steps, index, run_many))

    return lockstep.run([partial(in_turn, index, work) for index, work in enumerate(works)])


def test_an_error_of_the_program_reaches_all_that_wait_for_it():
    def run_many(states, examples, start, stop):
        raise MemoryError("too large")

    def work(run_steps):
        try:
            run_steps(state_at(0), EXAMPLES, 0, 1)
        except MemoryError as error:
            return str(error)

    assert in_lockstep(run_many, [work, work]) == ["too large"] * 2


def advance(step: int, until: int = 6):
    """A run that goes from one step to another and returns where it is."""

    def work(run_steps):
        at = step
        while at < until:
            result = run_steps(state_at(at), EXAMPLES, at, until)
            at = result.stop
        return at

    return work


def test_those_behind_catch_up_then_all_go_together():
    calls = []

    def run_many(states, examples, start, stop):
        calls.append((len(states), int(start), int(stop)))
        return [(state, METRICS) for state in states]

    assert in_lockstep(run_many, [advance(4), advance(1), advance(4)]) == [6, 6, 6]
    assert calls == [(1, 1, 4), (3, 4, 6)]


def test_the_others_go_on_whatever_a_run_does():
    calls = []

    def run_many(states, examples, start, stop):
        calls.append(len(states))
        return [(state, METRICS) for state in states]

    def asks_for_none(run_steps):
        return None

    def leaves(run_steps):
        run_steps(state_at(0), EXAMPLES, 0, 2)
        return "left"

    works = [advance(0, 2), leaves, advance(0, 4), asks_for_none]
    assert in_lockstep(run_many, works) == [2, "left", 4, None]
    assert calls == [3, 1]

    def interrupted(run_steps):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_lockstep(run_many, [interrupted, advance(0), advance(0)])
    assert calls == [3, 1, 2]


def test_runs_that_differ_in_seed_and_rates_are_grouped():
    runs = {
        Path("a"): config(0),
        Path("b"): config(1, learning_rate=0.1),
        Path("other"): config(0, model="mlp"),
        Path("c"): config(2),
        Path("d"): config(3),
        Path("alone"): config(4, runs_per_program=1),
        Path("alone too"): config(5, runs_per_program=1),
    }
    names = [[str(folder) for folder in each] for each in groups(runs)]
    assert names == [["a", "b", "c"], ["other"], ["d"], ["alone"], ["alone too"]]
    assert config(0).run_name() == config(0, runs_per_program=1).run_name()
    spread, whole = ({"name": "jit", "mesh": {"run": size}} for size in (3, 1))
    assert config(0, parallel=spread).run_name() == config(0, parallel=whole).run_name()
