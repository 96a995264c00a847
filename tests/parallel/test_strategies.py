"""What every strategy passes on to the compiler."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from research.config import Config
from research.parallel import STRATEGIES, Layout, compile_stacked
from research.runs.build import build_data
from research.runs.program import compile_program
from research.runs.spec import program_spec
from research.training.state import Metrics, TrainState

NUMBER: Any = jax.ShapeDtypeStruct((), jnp.int32)
ARGUMENTS = (
    TrainState(NUMBER, {"bias": jax.ShapeDtypeStruct((3,), jnp.float32)}, {}, (), NUMBER),
    jax.ShapeDtypeStruct((8, 4, 4, 1), jnp.uint8),
    jax.ShapeDtypeStruct((8,), jnp.int32),
    jax.ShapeDtypeStruct((2, 4), jnp.int32),
    NUMBER,
    NUMBER,
)


def run_steps(state, images, labels, order, start, stop):
    return state, Metrics(jnp.zeros(2), start, stop)


@pytest.mark.parametrize(
    ("name", "num_runs"), [*((name, 1) for name in STRATEGIES), ("single", 2), ("jit", 2), ("shard_map", 2)]
)
def test_options_reach_the_compiler(name, num_runs):
    def compile_steps(*arguments, options):
        if num_runs == 1:
            return STRATEGIES[name](run_steps, *arguments, options=options)
        return compile_stacked(name, run_steps, num_runs, *arguments, options=options)

    layout = Layout.of(1)
    compile_steps(layout, *ARGUMENTS, options={"xla_backend_optimization_level": 1})
    with pytest.raises(jax.errors.JaxRuntimeError, match="no_such_option"):
        compile_steps(layout, *ARGUMENTS, options={"no_such_option": 1})


LEVEL = "xla_backend_optimization_level"
NO_EMITTERS = {"xla_cpu_use_fusion_emitters": False}
NO_CHOICE = jax.__version_info__ >= (0, 11)


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        ({}, None),
        ({"xla_optimization_level": 2}, {LEVEL: 2}),
        (NO_EMITTERS, None if NO_CHOICE else {LEVEL: 3} | NO_EMITTERS),
        (NO_EMITTERS | {"xla_optimization_level": 1}, {LEVEL: 1} if NO_CHOICE else {LEVEL: 3} | NO_EMITTERS),
        (NO_EMITTERS | {"xla_optimization_level": 0}, {LEVEL: 0} | ({} if NO_CHOICE else NO_EMITTERS)),
    ],
)
def test_the_configuration_sets_the_options_of_the_training_steps(training, expected, monkeypatch):
    class Told(Exception):
        pass

    def strategy(*arguments, options):
        raise Told(options)

    monkeypatch.setitem(STRATEGIES, "single", strategy)
    config = Config.from_dict({"model": {"name": "tiny"}, "training": training})
    with pytest.raises(Told) as told:
        compile_program(program_spec(config, build_data(config.data)))
    assert told.value.args == (expected,)
