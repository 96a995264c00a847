import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from research.layers import Dense, Flatten, Sequential
from research.training.epoch import epoch_order, make_run_steps
from research.training.losses import cross_entropy
from research.training.optimizers import OPTIMIZERS, make_optimizer
from research.training.schedules import constant
from research.training.state import Batch, init_state
from research.training.step import make_train_step


def make(net, preprocess, name="adam", learning_rate=0.01):
    optimizer = make_optimizer(name, constant(1), learning_rate=learning_rate)
    state = init_state(net, optimizer, jax.random.key(0), (1, 8, 8, 1))
    return make_train_step(net, optimizer, cross_entropy, preprocess), state


def batch_of(digits, count):
    return Batch(jnp.asarray(digits.train.images[:count]), jnp.asarray(digits.train.labels[:count]))


def test_the_state_holds_arrays_only(net, preprocess):
    _, state = make(net, preprocess)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
    assert state.step.dtype == jnp.int32


def test_a_step_counts_and_is_pure(net, preprocess, digits, assert_same):
    train_step, state = make(net, preprocess)
    batch = batch_of(digits, 32)
    first, metrics = jax.jit(train_step)(state, batch)
    again, _ = jax.jit(train_step)(state, batch)
    assert_same(first, again)
    assert int(first.step) == 1
    assert int(metrics.num_examples) == 32
    assert 0 <= int(metrics.correct) <= 32
    assert float(metrics.loss) > 0


# every optimizer finds a minimum in test_recursions.py
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("sgd", "adam") else pytest.mark.slow)
        for name in sorted(list(OPTIMIZERS)[:7])
    ],
)
def test_every_optimizer_overfits_one_batch(net, preprocess, digits, name):
    rate = {"sgd": 0.2, "momentum": 0.05, "nesterov": 0.05, "adagrad": 0.1}.get(name, 0.01)
    train_step, state = make(net, preprocess, name, rate)
    batch = batch_of(digits, 16)
    order = jnp.zeros((200, 16), jnp.int32) + jnp.arange(16, dtype=jnp.int32)
    run_steps = jax.jit(make_run_steps(train_step))
    state, before = run_steps(state, *batch, order, jnp.int32(0), jnp.int32(1))
    state, _ = run_steps(state, *batch, order, jnp.int32(1), jnp.int32(190))
    state, after = run_steps(state, *batch, order, jnp.int32(190), jnp.int32(200))
    assert float(after.loss.sum()) / 10 < 0.1 * float(before.loss.sum())
    assert int(after.correct) >= 155  # of 160, with dropout


def test_the_gradient_is_of_the_mean_loss(net, preprocess, digits):
    train_step, state = make(net, preprocess, "sgd", 1.0)
    batch = batch_of(digits, 8)
    stepped, metrics = jax.jit(train_step)(state, batch)
    step_key = jax.random.fold_in(state.key, state.step)
    keys = jnp.stack([jax.random.fold_in(jax.random.fold_in(step_key, i), 0) for i in range(8)])

    def loss(params):
        images = preprocess(batch.images)
        logits, _ = net.apply(params, state.model_state, images, train=True, key=keys)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels).mean()

    value, grads = jax.jit(jax.value_and_grad(loss))(state.params)
    np.testing.assert_allclose(float(metrics.loss) / 8, value, rtol=1e-6)
    expected = jax.tree.map(lambda p, g: p - g, state.params, grads)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), stepped.params, expected)


def test_an_epoch_gives_the_same_bits_however_it_is_cut(net, preprocess, digits, assert_same):
    train_step, state = make(net, preprocess)
    run_steps = jax.jit(make_run_steps(train_step))
    data = (jnp.asarray(digits.train.images), jnp.asarray(digits.train.labels))
    order = epoch_order(jax.random.key(1), 1, len(digits.train.labels), 64)
    whole, metrics = run_steps(state, *data, order, jnp.int32(0), jnp.int32(len(order)))
    cut = state
    losses = 0
    correct = 0
    for start, stop in ((0, 1), (1, 8), (8, len(order))):
        cut, part = run_steps(cut, *data, order, jnp.int32(start), jnp.int32(stop))
        losses = losses + part.loss
        correct += int(part.correct)
    assert_same(whole, cut)
    assert_same(losses, metrics.loss)
    assert correct == int(metrics.correct)


def test_jit_agrees_with_eager(preprocess, digits):
    net = Sequential((("flatten", Flatten()), ("logits", Dense(10))))
    train_step, state = make(net, preprocess)
    batch = batch_of(digits, 16)
    eager, eager_metrics = train_step(state, batch)
    jitted, metrics = jax.jit(train_step)(state, batch)
    np.testing.assert_allclose(eager_metrics.loss, metrics.loss, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), eager.params, jitted.params)


def test_a_balanced_order_draws_each_class_and_each_of_its_examples_equally_often():
    labels = np.repeat(np.array([4, 2, 7]), (160, 35, 5))
    orders = [np.asarray(epoch_order(jax.random.key(0), epoch, 200, 8, labels)) for epoch in (1, 2)]
    for order in orders:
        assert order.shape == (25, 8)
        times = np.bincount(order.ravel(), minlength=200)
        for label, count in ((4, 160), (2, 35), (7, 5)):
            assert times[labels == label].sum() == pytest.approx(200 / 3, abs=1)
            assert {*times[labels == label]} <= {200 // (3 * count), 200 // (3 * count) + 1}
    assert not np.array_equal(orders[0], orders[1])
    mean = np.mean(
        [
            np.bincount(epoch_order(jax.random.key(1), i, 200, 8, labels).ravel(), minlength=200)
            for i in range(300)
        ],
        0,
    )
    np.testing.assert_allclose(mean, 200 / 3 / np.repeat((160, 35, 5), (160, 35, 5)), atol=0.15)


def test_an_order_visits_each_example_at_most_once_and_differs_between_epochs():
    order = epoch_order(jax.random.key(0), 1, 100, 32)
    assert order.shape == (3, 32)
    assert len(np.unique(order)) == 96
    assert not np.array_equal(order, epoch_order(jax.random.key(0), 2, 100, 32))
    np.testing.assert_array_equal(order, epoch_order(jax.random.key(0), 1, 100, 32))
