"""The compiled epoch of every model on the CPU."""

import re

import jax
import jax.numpy as jnp
import pytest

from research.data import DATASETS, Preprocess
from research.models import MODELS
from research.training.epoch import make_run_steps
from research.training.losses import cross_entropy
from research.training.optimizers import make_optimizer
from research.training.state import init_state
from research.training.step import make_train_step
from tests.ops.sampling import quick_jit


def naive_convolutions(program: str) -> list[str]:
    """The convolutions of a compiled program outside its entry computation that no library computes."""
    libraries = set(re.findall(r"calls=(%[\w.-]+).*__ynn_fusion", program))
    computations = re.findall(r"^(ENTRY )?(%\S+).*\{\n((?:  .*\n)+)\}", program, re.MULTILINE)
    assert sum(bool(entry) for entry, *_ in computations) == 1
    bodies = [body for entry, name, body in computations if not entry and name not in libraries]
    return [line for body in bodies for line in body.splitlines() if " convolution(" in line]


def compiled_epoch(name: str, **arguments) -> str:
    dataset = DATASETS["cifar10" if name in ("modern_cnn", "simple_resnet") else "mnist"]
    net = MODELS[name](dataset.image_shape, 10, **arguments)
    optimizer = make_optimizer("sgd", lambda step: 1.0)
    middle = (0.5,) * dataset.image_shape[2]
    step = make_train_step(net, optimizer, cross_entropy, Preprocess(middle, middle, ()))
    state = jax.eval_shape(lambda: init_state(net, optimizer, jax.random.key(0), (1, *dataset.image_shape)))
    images = jax.ShapeDtypeStruct((16, *dataset.image_shape), jnp.uint8)
    labels, order = (jax.ShapeDtypeStruct(shape, jnp.int32) for shape in ((16,), (2, 8)))
    number = jax.ShapeDtypeStruct((), jnp.int32)
    run_steps = quick_jit(make_run_steps(step))
    return str(run_steps.lower(state, images, labels, order, number, number).compile().as_text())


# every other model has the same convolutions, or none
FEW = ("plain", "conv_pair", "modern_cnn", "simple_resnet")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FEW else pytest.mark.slow) for name in MODELS]
)
def test_no_naive_convolution_in_a_loop(name):
    # one block shows what a stage of two does, in half the time of compiling
    program = compiled_epoch(name, **({"blocks": 1} if name == "simple_resnet" else {}))
    assert "while(" in program
    assert naive_convolutions(program) == []


def test_the_reading_finds_a_naive_convolution_in_a_loop():
    assert naive_convolutions(compiled_epoch("tiny", algorithm="lax"))
