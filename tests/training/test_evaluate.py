import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.layers import Conv2D, Dense, Flatten, Sequential
from research.layers.base import abstract_init
from research.training.evaluate import (
    SMALL_BYTES,
    make_predict,
    measure,
    most_confident_mistakes,
    predict_all,
)
from research.training.losses import cross_entropy
from research.training.objective import is_correct
from research.training.tta import TTA


def one_conv(features, algorithm):
    conv = Conv2D(features, algorithm=algorithm)
    return Sequential((("conv", conv), ("flatten", Flatten()), ("logits", Dense(10))))


@pytest.mark.parametrize(
    ("features", "algorithm", "expected"),
    [(4, "auto", 2), (SMALL_BYTES // (8 * 8 * 4), "auto", 1), (4, "im2col", 0)],
)
def test_the_compiler_convolves_except_in_the_wide_layers_of_a_large_network(
    features, algorithm, expected, preprocess
):
    conv = Conv2D(features, algorithm=algorithm)
    net = Sequential((("conv1", conv), ("conv2", conv), ("flatten", Flatten()), ("logits", Dense(10))))
    images = jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.uint8)
    lowered = jax.jit(make_predict(net, preprocess)).lower(*abstract_init(net, images.shape), images)
    assert lowered.as_text().count("stablehlo.convolution") == expected


def test_predict_gives_the_logits_of_the_network(digits, preprocess):
    net = one_conv(16, "auto")
    params, state = net.init(jax.random.key(0), (1, 8, 8, 1))
    images = jnp.asarray(digits.test.images[:20])
    logits = make_predict(net, preprocess)(params, state, images)
    expected, _ = net.apply(params, state, preprocess(images), train=False)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


def test_a_split_without_examples_has_no_logits_and_no_accuracy():
    def predict(params, model_state, images):
        return jnp.zeros((len(images), 10))

    logits = predict_all(predict, {}, {}, np.zeros((0, 8, 8, 1), np.uint8), 4)
    assert logits.shape == (0, 10)
    labels = np.zeros(0, np.int32)
    assert np.isnan(measure(logits, labels)).all()
    assert most_confident_mistakes(logits, labels, 5).shape == (0,)
    empty = jnp.asarray(logits), jnp.asarray(labels)
    for smoothing in (0.0, 0.1):
        assert cross_entropy(*empty, label_smoothing=smoothing).shape == (0,)
    assert is_correct(jnp.asarray(logits), jnp.asarray(labels)).shape == (0,)


@pytest.mark.parametrize("name", TTA)
def test_test_time_augmentation_averages_the_logits_of_its_views(name, digits, preprocess):
    net = one_conv(4, "auto")
    params, state = net.init(jax.random.key(0), (1, 8, 8, 1))
    images = digits.test.images[:6]

    def plain(view):
        return np.asarray(make_predict(net, preprocess)(params, state, view), np.float64)

    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
    moved = [padded[:, :-2, :-2], padded[:, 2:, 2:]]
    whole = (plain(images) + plain(images[:, :, ::-1])) / 2
    parts = sum(plain(view) + plain(view[:, :, ::-1]) for view in moved) / 4
    expected = {"none": plain(images), "flip": whole, "flip_shift": (whole + parts) / 2}[name]
    result = make_predict(net, preprocess, name)(params, state, images)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)
