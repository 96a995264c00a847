import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.data import Split
from research.parallel import Layout, make_feed
from research.training.epoch import make_run_steps
from research.training.evaluate import make_predict, measure, predict_all
from research.training.fit import Program, first_position, fit
from research.training.nans import make_find
from research.training.objective import make_cross_entropy
from research.training.optimizers import make_optimizer, set_rates
from research.training.replicas import one_by_one, together
from research.training.schedules import constant
from research.training.state import init_state
from research.training.step import make_train_step


@pytest.fixture(scope="module")
def program(net, preprocess):
    optimizer = make_optimizer("adam", constant(1))

    def init(key, learning_rate, weight_decay):
        state = init_state(net, optimizer, key, (1, 8, 8, 1))
        rates = {"learning_rate": learning_rate, "weight_decay": weight_decay}
        return state._replace(opt_state=set_rates(state.opt_state, **rates))

    train_step = make_train_step(net, optimizer, make_cross_entropy(), preprocess)
    return Program(
        jax.jit(init),
        one_by_one(jax.jit(make_run_steps(train_step), donate_argnums=0)),
        jax.jit(make_predict(net, preprocess)),
        partial(make_feed, Layout.of(1)),
        make_find(net, make_cross_entropy(), preprocess),
    )


@pytest.fixture
def run(program, digits):
    def run(learning_rate=0.01, train=digits.train, window=None, **options):
        state = program.init(jax.random.key(0), jnp.float32(learning_rate), jnp.float32(0))
        defaults: Any = {"epochs": 3, "batch_size": 64, "eval_batch_size": 100}
        training = fit(
            program,
            first_position(state),
            make_feed(Layout.of(1), train.images, train.labels, window=window),
            digits.validation,
            num_train=len(train.labels),
            order_key=jax.random.key(2),
            learning_rate_at=lambda step: learning_rate,
            **defaults | options,
        )
        return together([training])[0]

    return run


def test_training_learns_and_logs_each_epoch(run, digits):
    steps, lines = [], []
    fitted = run(on_progress=steps.append, on_epoch=lines.append)
    assert fitted.status == "completed"
    assert tuple(lines) == fitted.history
    assert [line.epoch for line in lines] == [1, 2, 3]
    assert sum(steps) == lines[-1].step == 3 * (len(digits.train.labels) // 64)
    assert lines[-1].train_loss < lines[0].train_loss
    assert lines[-1].validation_accuracy > 0.8
    assert fitted.num_steps == lines[-1].step
    assert fitted.seconds == lines[-1].seconds > 0


@pytest.mark.parametrize(
    "options", [{"scan_steps": 1}, {"scan_steps": 7}, {"pause_every": 3}, {"window": 3}, {"window": 1000}]
)
def test_scans_and_windows_give_the_same_bits(run, assert_same, options):
    whole = run(epochs=2)
    cut = run(epochs=2, **options)
    assert_same(whole.params, cut.params)
    for line, other in zip(whole.history, cut.history, strict=True):
        assert dataclasses.replace(line, seconds=other.seconds) == other


def test_keep_best_returns_the_parameters_of_the_best_epoch(run, program, digits):
    fitted = run(epochs=6)
    accuracies = [line.validation_accuracy for line in fitted.history]
    assert fitted.best_epoch == int(np.argmax(accuracies)) + 1
    logits = predict_all(program.predict, fitted.params, fitted.model_state, digits.validation.images, 100)
    assert measure(logits, digits.validation.labels)[1] == max(accuracies)


def test_keep_last_returns_those_of_the_last_epoch(run, program, digits):
    fitted = run(epochs=6, keep="last")
    assert fitted.best_epoch == 6
    logits = predict_all(program.predict, fitted.params, fitted.model_state, digits.validation.images, 100)
    assert measure(logits, digits.validation.labels)[0] == fitted.history[-1].validation_loss


def test_patience_stops_early(run):
    fitted = run(learning_rate=1e-12, epochs=50, patience=2)
    assert fitted.status == "completed"
    assert len(fitted.history) == 3


def test_a_loss_that_is_not_finite_ends_the_run(run):
    fitted = run(learning_rate=1e30)
    assert fitted.status == "diverged"
    assert fitted.error == "the loss is not finite at step 2"
    assert fitted.history == ()
    assert fitted.params is None
    assert fitted.seconds > 0


def test_the_last_short_batch_counts(program, digits, net):
    state = program.init(jax.random.key(0), jnp.float32(0.1), jnp.float32(0))
    images = digits.test.images[:130]
    whole = predict_all(program.predict, state.params, state.model_state, images, 130)
    padded = predict_all(program.predict, state.params, state.model_state, images, 64)
    assert padded.shape == (130, 10)
    np.testing.assert_allclose(whole, padded, atol=1e-5)


def test_fewer_examples_than_a_batch_train_no_step(run, digits):
    few = Split(digits.train.images[:10], digits.train.labels[:10])
    with pytest.raises(ZeroDivisionError):
        run(train=few)
