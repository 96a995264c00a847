import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.data import Split
from research.parallel import Layout, make_feed
from research.training.callback import Callback, EpochMetrics
from research.training.epoch import make_run_steps
from research.training.evaluate import make_predict, measure, predict_all
from research.training.fit import FitOptions, best_epoch, first_position, fit
from research.training.losses import cross_entropy
from research.training.nans import make_find
from research.training.optimizers import make_optimizer, set_rates
from research.training.program import Program, make_timed
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

    train_step = make_train_step(net, optimizer, cross_entropy, preprocess)
    return Program(
        jax.jit(init),
        make_timed(jax.jit(make_run_steps(train_step), donate_argnums=0)),
        jax.jit(make_predict(net, preprocess)),
        lambda params, model_state, images: net.trace(params, model_state, images, train=False)[2],
        make_find(net, cross_entropy, preprocess),
        partial(make_feed, Layout.of(1)),
        lambda step: 1.0,
        num_train=0,
        batch_size=64,
        eval_batch_size=100,
        num_steps=0,
    )


@pytest.fixture
def run(program, digits):
    def run(learning_rate=0.01, train=digits.train, window=None, epochs=3, callbacks=(), **options):
        state = program.init(jax.random.key(0), jnp.float32(learning_rate), jnp.float32(0))
        num_train = len(train.labels)
        return fit(
            dataclasses.replace(program, num_train=num_train, num_steps=epochs * (num_train // 64)),
            first_position(state),
            make_feed(Layout.of(1), train.images, train.labels, window=window),
            digits.validation,
            order_key=jax.random.key(2),
            options=FitOptions(**options),
            callbacks=callbacks,
        )

    return run


def test_training_learns_and_logs_each_epoch(run, digits):
    steps, lines = [], []

    class Told(Callback):
        def on_steps(self, position, count):
            steps.append(count)

        def on_epoch(self, metrics):
            lines.append(metrics)

    fitted = run(callbacks=[Told()])
    assert fitted.status == "completed"
    assert tuple(lines) == fitted.history
    assert [line.epoch for line in lines] == [1, 2, 3]
    assert sum(steps) == lines[-1].step == 3 * (len(digits.train.labels) // 64)
    assert lines[-1].train_loss < lines[0].train_loss
    assert lines[-1].validation_accuracy > 0.8
    assert fitted.num_steps == lines[-1].step
    assert fitted.seconds == lines[-1].seconds > 0


@pytest.mark.parametrize(("gives_up_at", "status", "epochs"), [(1, "stopped", 1), (2, "completed", 2)])
def test_a_callback_gives_a_run_up_at_the_end_of_an_epoch(run, gives_up_at, status, epochs):
    """After the last epoch there is nothing left to give up."""

    class GiveUp(Callback):
        def on_epoch(self, metrics):
            return "no hope" if metrics.epoch == gives_up_at else None

    fitted = run(epochs=2, callbacks=[GiveUp()])
    assert (fitted.status, len(fitted.history)) == (status, epochs)
    assert fitted.error == ("no hope" if status == "stopped" else None)
    assert (fitted.params is None) == (status == "stopped")


@pytest.mark.parametrize(
    "options",
    [{"scan_steps": 1}, {"scan_steps": 7}, {"checkpoint_every": 3}, {"window": 3}, {"window": 1000}],
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
    best = max(fitted.history, key=lambda line: (line.validation_accuracy, -line.validation_loss))
    assert fitted.best_epoch == best.epoch
    logits = predict_all(program.predict, fitted.params, fitted.model_state, digits.validation.images, 100)
    assert measure(logits, digits.validation.labels)[1] == max(accuracies)


def line(epoch, accuracy, loss):
    return EpochMetrics(epoch, epoch, 0.0, 0.0, loss, accuracy, 0.1, 0.0)


def test_the_monitor_chooses_the_best_epoch_and_the_loss_decides_between_equal_accuracies():
    history = [line(1, 0.5, 0.2), line(2, 0.9, 0.5), line(3, 0.9, 0.4), line(4, 0.9, 0.4), line(5, 0.8, 0.3)]
    assert best_epoch(history, "accuracy") == 3
    assert best_epoch(history, "loss") == 1
    assert best_epoch(history[1:3], "loss") == 3
    assert best_epoch((), "accuracy") == best_epoch((), "loss") == 0


def test_the_monitor_drives_the_kept_parameters_and_the_patience(run, program, digits):
    fitted = run(learning_rate=0.3, epochs=8, monitor="loss", patience=2)
    losses = [line.validation_loss for line in fitted.history]
    assert fitted.best_epoch == int(np.argmin(losses)) + 1
    assert len(losses) == min(8, fitted.best_epoch + 2)
    logits = predict_all(program.predict, fitted.params, fitted.model_state, digits.validation.images, 100)
    assert measure(logits, digits.validation.labels)[0] == min(losses)


def test_the_plateau_gives_the_learning_rate_of_each_epoch(run):
    fitted = run(learning_rate=0.02, plateau=lambda history: 1e-30 ** len(history))
    losses = [line.validation_loss for line in fitted.history]
    assert losses[0] == losses[1] == losses[2]
    assert [line.learning_rate for line in fitted.history] == pytest.approx([1.0, 1e-30, 1e-60])


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


class Recorder(Callback):
    """Keeps the names of the methods that were called; ``failing`` raises."""

    def __init__(self, failing: str = "", stop_at: int = 0) -> None:
        self.calls: list[str] = []
        self._failing, self._stop_at = failing, stop_at

    def _note(self, name: str) -> None:
        self.calls.append(name)
        if name == self._failing:
            raise OSError(name)

    def on_start(self, position, num_steps):
        self._note(f"start {num_steps}")

    def on_steps(self, position, count):
        self._note("steps")
        return "enough" if int(position.state.step) == self._stop_at else None

    def on_epoch(self, metrics):
        self._note(f"epoch {metrics.epoch}")

    def on_stop(self, position):
        self._note(f"stop {int(position.state.step)}")

    def on_end(self):
        self._note("end")


def test_callbacks_are_told_in_order_and_may_stop_training(run):
    recorder, other = Recorder(stop_at=10), Recorder()
    fitted = run(scan_steps=10, epochs=1, callbacks=[recorder, other])
    assert (fitted.status, fitted.error, fitted.num_steps) == ("preempted", "enough", 10)
    assert recorder.calls == other.calls == ["start 20", "steps", "stop 10", "end"]


@pytest.mark.parametrize("failing", ["start 20", "steps", "epoch 1", "end"])
def test_callbacks_are_told_of_the_end_whatever_happens(run, failing):
    first, recorder = Recorder(), Recorder(failing)
    with pytest.raises(OSError, match=failing):
        run(scan_steps=20, epochs=1, callbacks=[first, recorder])
    assert first.calls[-1] == recorder.calls[-1] == "end"
