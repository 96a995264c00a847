"""NaN and Inf in images, loss and gradients: the run says at which step, and in which layer."""

import random
import re
from pathlib import Path
from unittest import mock

import jax
import jax.numpy as jnp

from research.config import Config
from research.data import AUGMENTATIONS
from research.layers import INITIALIZERS
from research.ops.activation import ACTIVATIONS
from research.records import read_run
from research.runs.build import build_data
from research.runs.program import forget_programs
from research.runs.run import run
from research.training.epoch import epoch_order

BATCH, NUM_STEPS = 32, 6
LARGE = 1e4  # no pixel, and no activation of the real images


def bad_value(rng: random.Random, folder: Path) -> None:
    """One bad value, of a kind drawn at random, in a step drawn at random, ends the run as ``diverged``."""
    bad = rng.choice((jnp.nan, jnp.inf, -jnp.inf))
    kind = rng.choice(("images", "gradient", "initializer", "rate"))
    rate = 10 ** rng.uniform(20, 38) if kind == "rate" else 1e-3
    config = Config.from_dict(
        {
            "model": {"name": "tiny"},
            "optimizer": {"name": rng.choice(("sgd", "momentum")), "learning_rate": rate},
            "seed": rng.randrange(1000),
            "data": {"train_limit": BATCH * NUM_STEPS, "augmentations": ["flip"]},
            "training": {"epochs": 2, "batch_size": BATCH, "scan_steps": rng.randrange(1, NUM_STEPS + 2)},
            "debug": {"nans": rng.random() < 0.7},
        }
    )
    train = build_data(config.data).train
    index = rng.randrange(len(train.labels))
    order_key = jax.random.fold_in(jax.random.key(config.seed), 2)
    order = epoch_order(order_key, 1, len(train.labels), BATCH)
    step = next(i for i, row in enumerate(order.tolist(), 1) if index in row)
    image = {"images": bad, "gradient": LARGE}.get(kind)
    with (
        mock.patch.dict(AUGMENTATIONS, {"flip": mark(train.images[index], image)} if image else {}),
        mock.patch.dict(ACTIVATIONS, {"relu": relu_with_bad_slope(bad)} if kind == "gradient" else {}),
        mock.patch.dict(INITIALIZERS, {"he_normal": constant(bad)} if kind == "initializer" else {}),
    ):
        forget_programs()
        result = run(config, folder / "run")
    forget_programs()
    assert result.status == read_run(folder / "run").status == "diverged", f"{kind}: {result}"
    error = str(result.error)
    said, _, first = error.partition("; first in ")
    assert re.fullmatch(
        r"the (loss|validation loss|parameters) (is|are) not finite (at|after) step \d+", said
    )
    assert bool(first) == config.debug.nans, error
    if kind == "images":
        assert said == f"the loss is not finite at step {step}", f"{error}, not {step}"
        assert first in ("", f"the images at step {step}"), error
    elif kind == "initializer":
        assert said == "the loss is not finite at step 1", error
        assert first in ("", "the first value of conv1/kernel"), error
    elif kind == "gradient":
        at_the_end = f"the parameters are not finite after step {step}"
        expected = at_the_end if step == NUM_STEPS else f"the loss is not finite at step {step + 1}"
        assert said == expected, f"{error}, not {step}"
        assert re.fullmatch(rf"|the gradient of conv2/(bias|kernel) at step {step}", first), error
    elif first:
        assert re.fullmatch(
            r"the (output|new value|gradient) of \w+(/\w+)? at (step \d|validation)", first
        ), error


def mark(image, value):
    """An augmentation that gives one image, and no other, another value."""

    def augment(key, pixels):
        return jnp.where((pixels == image).all(), jnp.float32(value), pixels)

    return lambda **_: augment


def relu_with_bad_slope(bad):
    """A ReLU whose gradient is bad where its input is large."""

    @jax.custom_vjp
    def relu(x):
        return jnp.maximum(x, 0)

    relu.defvjp(
        lambda x: (relu(x), x),
        lambda x, dy: (jnp.where(x > LARGE / 255, bad, dy * (x > 0)).astype(x.dtype),),
    )
    return relu


def constant(value):
    """An initializer."""
    return lambda key, shape, dtype=jnp.float32, **_: jnp.full(shape, value, dtype)
