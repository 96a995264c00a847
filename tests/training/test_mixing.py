"""The training step mixes examples and labels, and mirrors the images of every second epoch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from research.data import Preprocess
from research.layers import Dense, Flatten, Sequential
from research.training.losses import cross_entropy
from research.training.mixing import draw_mixture, mix_images, mix_labels
from research.training.objective import is_correct
from research.training.state import Batch, TrainState
from research.training.step import example_keys, make_train_step

RNG = np.random.default_rng(0)
BATCH = Batch(
    jnp.asarray(RNG.integers(0, 256, (12, 4, 4, 1)), jnp.uint8),
    jnp.asarray(RNG.integers(0, 5, 12), jnp.int32),
)


def half(key, height, width):
    """The upper half of the image is its own."""
    return (jnp.arange(height) < height / 2).astype(jnp.float32)[:, None, None] * jnp.ones((1, width, 1))


def test_mixed_labels_have_the_shares_of_the_areas():
    weights = jnp.stack([half(None, 4, 4), jnp.ones((4, 4, 1))])
    labels = mix_labels(jnp.array([0, 1]), jnp.array([2, 2]), weights, jnp.zeros((2, 3)))
    np.testing.assert_array_equal(labels, [[0.5, 0, 0.5], [0, 1, 0]])


def test_every_example_is_the_partner_of_one():
    mixture = draw_mixture(half, jax.random.key(1), BATCH, None)
    rows = [tuple(image.ravel().tolist()) for image in np.asarray(BATCH.images)]
    partners = [tuple(image.ravel().tolist()) for image in np.asarray(mixture.partners.images)]
    assert sorted(rows) == sorted(partners) != partners
    place = [rows.index(partner) for partner in partners]
    np.testing.assert_array_equal(mixture.partners.labels, BATCH.labels[jnp.array(place)])
    keys = [jax.random.fold_in(jax.random.key(1), index) for index in place]
    assert [*jax.random.key_data(mixture.keys).tolist()] == [jax.random.key_data(k).tolist() for k in keys]


def net_and_state():
    net = Sequential((("flatten", Flatten()), ("logits", Dense(5))))
    params, model_state = net.init(jax.random.key(0), (1, 4, 4, 1))
    optimizer = optax.sgd(0.1)
    state = TrainState(jnp.int32(3), params, model_state, optimizer.init(params), jax.random.key(7))
    return net, optimizer, state


def test_a_step_is_a_step_on_the_mixture_of_the_augmented_images():
    net, optimizer, state = net_and_state()
    preprocess = Preprocess((0.5,), (0.5,), ("flip", "crop"))
    step = make_train_step(net, optimizer, cross_entropy, preprocess, mixing=half)
    after, metrics = jax.jit(step)(state, BATCH)
    fold = jax.vmap(jax.random.fold_in, in_axes=(0, None))

    def loss(params):
        mixture = draw_mixture(half, jax.random.fold_in(state.key, state.step), BATCH, None)
        own = preprocess(BATCH.images, keys=fold(example_keys(state, 12), 1))
        others = preprocess(mixture.partners.images, keys=fold(mixture.keys, 1))
        images = mix_images(own, others, mixture.weights)
        logits = net.apply(params, {}, images, train=True)[0]
        labels = mix_labels(BATCH.labels, mixture.partners.labels, mixture.weights, logits)
        return cross_entropy(logits, labels).mean(), is_correct(logits, labels).sum()

    (mean, correct), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(state.params)
    np.testing.assert_allclose(metrics.loss / 12, mean, rtol=1e-5)
    assert metrics.correct == correct
    expected = optax.apply_updates(state.params, jax.tree.map(lambda g: -0.1 * g, grads))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), after.params, expected)


def test_a_step_takes_the_images_of_its_epoch():
    net, optimizer, state = net_and_state()
    preprocess = Preprocess((0.5,), (0.5,))

    def alternate(images, step):
        return jnp.where(step == 3, images[:, :, ::-1], images)

    step = jax.jit(make_train_step(net, optimizer, cross_entropy, preprocess, alternate=alternate))
    plain = jax.jit(make_train_step(net, optimizer, cross_entropy, preprocess))
    mirrored = Batch(BATCH.images[:, :, ::-1], BATCH.labels)
    assert step(state, BATCH)[1].loss == plain(state, mirrored)[1].loss != plain(state, BATCH)[1].loss
