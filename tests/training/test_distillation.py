import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_softmax, softmax

from research.layers import Dense, Flatten, Sequential
from research.training.distillation import Teacher, distillation
from research.training.losses import make_loss
from research.training.optimizers import make_optimizer
from research.training.schedules import constant
from research.training.state import Batch, init_state
from research.training.step import make_train_step
from research.utils.strict import Named

NET = Sequential((("flatten", Flatten()), ("logits", Dense(10))))


def reference(z, q, teacher, temperature, weight):
    ours, theirs = log_softmax(z / temperature, -1), log_softmax(teacher / temperature, -1)
    divergence = (np.exp(theirs) * (theirs - ours)).sum(-1)
    return -(1 - weight) * (q * log_softmax(z, -1)).sum(-1) + weight * temperature**2 * divergence


def test_the_loss_equals_a_reference_in_float64():
    rng = np.random.default_rng(0)
    z, teacher, q = rng.normal(size=(5, 4)) * 3, rng.normal(size=(5, 4)) * 3, softmax(rng.normal(size=(5, 4)))
    for labels, soft in ((q, q), (np.array([0, 3, 1, 1, 2]), np.eye(4)[[0, 3, 1, 1, 2]])):
        for temperature, weight in ((4.0, 0.9), (1.0, 0.0), (0.5, 1.0)):
            arrays = (jnp.asarray(each, None) for each in (z, labels, teacher))
            found = distillation(*arrays, temperature=temperature, weight=weight)
            expected = reference(z, soft, teacher, temperature, weight)
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_the_gradient_of_a_step_is_that_of_the_loss_with_the_teacher(preprocess, digits):
    optimizer = make_optimizer("sgd", constant(1), learning_rate=1.0)
    state = init_state(NET, optimizer, jax.random.key(0), (1, 8, 8, 1))
    teacher_params, teacher_state = NET.init(jax.random.key(1), (1, 8, 8, 1))
    state = state._replace(teacher=(teacher_params, teacher_state))
    teacher = Teacher(NET, (2.0,), (0.5,))
    objective = make_loss(Named("distillation", (("temperature", 2.0), ("weight", 0.7))))
    step = jax.jit(make_train_step(NET, optimizer, objective, preprocess, num_parts=2, teacher=teacher))
    batch = Batch(jnp.asarray(digits.train.images[:8]), jnp.asarray(digits.train.labels[:8]))
    after, metrics = step(state, batch)
    x = np.asarray(preprocess(batch.images), np.float64).reshape(8, -1)
    ours, theirs = (jax.tree.map(np.float64, tree["logits"]) for tree in (state.params, teacher_params))
    z = x @ ours["kernel"] + ours["bias"]
    t = (2 * x + 0.5) @ theirs["kernel"] + theirs["bias"]
    q = np.eye(10)[np.asarray(batch.labels)]
    np.testing.assert_allclose(metrics.loss, reference(z, q, t, 2.0, 0.7).sum(), rtol=1e-5)
    grad = 0.3 * (softmax(z, -1) - q) + 0.7 * 2 * (softmax(z / 2, -1) - softmax(t / 2, -1))
    moved = ours["kernel"] - after.params["logits"]["kernel"]
    np.testing.assert_allclose(moved, x.T @ grad / 8, atol=1e-5)
    assert all(
        np.array_equal(*pair)
        for pair in zip(*map(jax.tree.leaves, (after.teacher, state.teacher)), strict=True)
    )
