"""Each loss and its gradient equal a reference in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.config import Config, ConfigError
from research.training.losses import LOSSES, make_loss, resolve
from research.training.losses import focal as focal_loss
from research.training.losses import mse as mse_loss
from research.training.objective import is_correct
from research.utils.strict import Functions, Named

RNG = np.random.default_rng(0)
SHAPES = {"images": (5, 4), "masks": (3, 2, 3, 4)}
WEIGHTS = (0.5, 2.0, 1.0, 0.25)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def per_pixel(function):
    """Weight the loss of each pixel by its class, and take the mean of each example."""

    def reference(z, q, weights, **arguments):
        losses = function(z, q, **arguments) * (q * weights).sum(-1)
        return losses.reshape(len(losses), -1).mean(1)

    return reference


def cross_entropy(z, q, label_smoothing=0.0):
    return -((q * (1 - label_smoothing) + label_smoothing / 4) * np.log(softmax(z))).sum(-1)


def focal(z, q, gamma=2.0, alpha=None):
    s = sigmoid(z)
    entropy = -q * np.log(s) - (1 - q) * np.log(1 - s)
    factor = 1 if alpha is None else alpha * q + (1 - alpha) * (1 - q)
    return (factor * (1 - (q * s + (1 - q) * (1 - s))) ** gamma * entropy).sum(-1)


def tversky(z, q, weights, false_positives=0.3, false_negatives=0.7, smooth=1.0):
    p, q = softmax(z).reshape(len(z), -1, 4), q.reshape(len(q), -1, 4)
    both = (p * q).sum(1)
    errors = false_positives * (p * (1 - q)).sum(1) + false_negatives * ((1 - p) * q).sum(1)
    return (weights * (1 - (both + smooth) / (both + errors + smooth))).mean(-1)


def dice(z, q, weights, smooth=1.0):
    """The usual form, 2 * intersection / (sum of both areas), with the smoothing doubled."""
    p, q = softmax(z).reshape(len(z), -1, 4), q.reshape(len(q), -1, 4)
    index = (2 * (p * q).sum(1) + 2 * smooth) / (p.sum(1) + q.sum(1) + 2 * smooth)
    return (weights * (1 - index)).mean(-1)


def iou(z, q, weights, smooth=1.0):
    p, q = softmax(z).reshape(len(z), -1, 4), q.reshape(len(q), -1, 4)
    both = (p * q).sum(1)
    return (weights * (1 - (both + smooth) / (p.sum(1) + q.sum(1) - both + smooth))).mean(-1)


REFERENCES = {
    "cross_entropy": per_pixel(cross_entropy),
    "focal": per_pixel(focal),
    "mse": per_pixel(lambda z, q: ((softmax(z) - q) ** 2).mean(-1)),
    "binary_cross_entropy": per_pixel(partial(focal, gamma=0.0)),
    "poly": per_pixel(
        lambda z, q, epsilon=2.0: cross_entropy(z, q) + epsilon * (q * (1 - softmax(z))).sum(-1)
    ),
    "dice": dice,
    "iou": iou,
    "tversky": tversky,
    "cross_entropy_dice": lambda z, q, weights, dice_weight=1.0, smooth=1.0: (
        per_pixel(cross_entropy)(z, q, weights) + dice_weight * dice(z, q, weights, smooth)
    ),
}

ARGUMENTS = [
    ("cross_entropy", {"label_smoothing": 0.1}),
    ("focal", {"gamma": 0.5, "alpha": 0.25}),
    ("poly", {"epsilon": 0.5}),
    ("tversky", {"false_positives": 0.9, "false_negatives": 0.2, "smooth": 0.1}),
    ("cross_entropy_dice", {"dice_weight": 0.3, "smooth": 2.0}),
    *((name, {}) for name in REFERENCES),
]


def numeric_gradient(function, z, step=1e-6):
    """Central differences of the sum of a function of `z`, in float64."""
    gradient = np.zeros_like(z)
    for index in np.ndindex(z.shape):
        shift = np.zeros_like(z)
        shift[index] = step
        gradient[index] = (function(z + shift).sum() - function(z - shift).sum()) / (2 * step)
    return gradient


# each pair of a shape, a kind of labels and a kind of weights
@pytest.mark.parametrize(
    ("shape", "soft", "weights"),
    [
        ("images", False, None),
        ("images", True, WEIGHTS),
        ("masks", False, WEIGHTS),
        ("masks", True, None),
    ],
    ids=["images-classes", "images-soft-weights", "masks-classes-weights", "masks-soft"],
)
@pytest.mark.parametrize(("name", "arguments"), ARGUMENTS, ids=str)
def test_loss_and_gradient_equal_the_reference(name, arguments, shape, soft, weights):
    z = RNG.normal(0, 2, SHAPES[shape])
    classes = RNG.integers(0, 4, z.shape[:-1])
    q = softmax(RNG.normal(0, 1, z.shape)) if soft else np.eye(4)[classes]
    reference = partial(REFERENCES[name], q=q, weights=np.asarray(weights or np.ones(4)), **arguments)
    labels = jnp.asarray(q if soft else classes)
    with jax.enable_x64(True):
        loss = partial(LOSSES[name], labels=labels, class_weights=weights, **arguments)
        values, pull = jax.vjp(loss, jnp.asarray(z))
        (gradient,) = pull(jnp.ones_like(values))
    assert values.shape == z.shape[:1]
    np.testing.assert_allclose(values, reference(z), rtol=1e-6)
    np.testing.assert_allclose(gradient, numeric_gradient(reference, z), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", REFERENCES)
def test_every_loss_and_gradient_is_finite_and_float32_at_extreme_logits_in_bfloat16(name):
    logits = jnp.array([[3e4, -3e4, 0.0, 0.0], [-3e4, 3e4, 0.0, 0.0]], jnp.bfloat16)
    values, pull = jax.vjp(partial(LOSSES[name], labels=jnp.array([1, 1])), logits)
    assert values.dtype == jnp.float32
    assert jnp.isfinite(values).all()
    assert jnp.isfinite(pull(jnp.ones_like(values))[0]).all()


def named(name, **arguments):
    return Named(name, tuple(sorted((Functions(LOSSES).named(name).arguments | arguments).items())))


def test_a_weighted_sum_adds_its_terms():
    logits, labels = jnp.asarray(RNG.normal(size=(3, 4)), jnp.float32), jnp.array([0, 3, 1])
    terms = named("focal", gamma=1.0), named("mse")
    total = make_loss(named("weighted_sum", terms=terms, weights=(0.5, 2.0)))(logits, labels)
    expected = 0.5 * focal_loss(logits, labels, gamma=1.0) + 2 * mse_loss(logits, labels)
    np.testing.assert_allclose(total, expected, rtol=1e-6)


def test_balanced_weights_give_every_class_the_same_sum():
    labels = np.array([0, 0, 0, 1, 3, 3])
    weights = resolve(named("poly", class_weights="balanced"), labels, 4).arguments["class_weights"]
    assert weights == (0.5, 1.5, 0.0, 0.75)
    inner = named("weighted_sum", terms=(named("mse", class_weights="balanced"),))
    (term,) = resolve(inner, labels, 4).arguments["terms"]
    assert term.arguments["class_weights"] == weights


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (named("mse", class_weights=(1.0, 2.0)), r"loss.class_weights=\[1.0, 2.0\] is .* of the 4 classes"),
        (
            named("weighted_sum", weights=(1.0, 2.0)),
            r"loss.weights=\[1.0, 2.0\] .* the 1 losses",
        ),
        (named("weighted_sum", terms=(), weights=()), r"loss.weights=\[\] is not allowed"),
    ],
)
def test_lists_of_the_wrong_length(loss, message):
    with pytest.raises(ValueError, match=message):
        resolve(loss, np.arange(4), 4)


def test_the_largest_soft_label_is_the_class():
    logits = jnp.array([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]])
    assert is_correct(logits, jnp.array([[0.6, 0.4, 0.0], [0.5, 0.2, 0.3]])).tolist() == [True, False]


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ({"name": "focl"}, "loss.name=focl is not allowed; give one of binary_cross_entropy, cross_entropy"),
        ({"name": "focal", "gamma": -1}, "loss.gamma=-1 is not allowed; give a number, at least 0"),
        (
            {"name": "mse", "class_weights": "even"},
            "loss.class_weights=even is not allowed; give one of balanced, or a list; each item: a number, "
            "at least 0, or null",
        ),
        (
            {"name": "mse", "class_weights": [1, -1]},
            r"class_weights=\[1, -1\] is not allowed; give one of",
        ),
        (
            {"name": "mse", "class_weights": 3},
            "class_weights=3 is not allowed; give one of balanced, or",
        ),
        (
            {"name": "weighted_sum", "terms": [{"name": "l2"}]},
            "loss.terms.name=l2 is not allowed; give one",
        ),
    ],
)
def test_a_wrong_loss_names_the_key_the_value_and_what_is_allowed(loss, message):
    with pytest.raises(ConfigError, match=message):
        Config.from_dict({"loss": loss})


def test_a_weighted_sum_is_read_from_names_and_arguments():
    terms = [{"name": "cross_entropy", "class_weights": "balanced"}, {"name": "focal", "gamma": 1}]
    config = Config.from_dict({"loss": {"name": "weighted_sum", "terms": terms, "weights": [1, 0.5]}})
    assert [term.name for term in config.loss.arguments["terms"]] == ["cross_entropy", "focal"]
    assert config.loss.arguments["terms"][1].arguments["gamma"] == 1.0
    assert Config.from_dict(config.to_dict()) == config
