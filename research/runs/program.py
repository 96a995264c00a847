"""The compiled program of a specification."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from research.analysis.layer_statistics import make_layer_statistics
from research.data import Images, batches_in_order
from research.layers import Params, State
from research.parallel import STRATEGIES, compile_stacked, make_feed
from research.parallel.distributed import largest
from research.runs.settings import pinned_settings, with_same_settings
from research.runs.spec import ProgramSpec
from research.training.epoch import make_run_steps
from research.training.evaluate import make_predict
from research.training.losses import make_loss
from research.training.nans import make_find
from research.training.program import Program, make_timed, make_timed_alone
from research.training.state import TrainState
from research.utils.memory import give_back_memory
from research.utils.xla import at_level, for_few_calls, for_one_call, jit_for_one_call


def compile_program(spec: ProgramSpec) -> Program:
    """Return the program of a specification. It is compiled once for all runs that share it.

    If an earlier call compiled the program, its `compile_seconds` are 0.
    """
    misses = _compile.cache_info().misses
    program = _compile(spec)
    _, now, max_size, _ = _compile.cache_info()
    if now == misses:
        return replace(program, compile_seconds=0.0)
    if max_size and now % max_size == 0:
        jax.clear_caches()  # otherwise JAX keeps what it traced and compiled for thousands of other shapes
    give_back_memory()
    return program


def forget_programs() -> None:
    """Clear the cache of `compile_program`, so that its next call traces and compiles again."""
    _compile.cache_clear()


@lru_cache(maxsize=16)
@pinned_settings()
def _compile(spec: ProgramSpec) -> Program:
    began = time.perf_counter()
    layout = spec.layout
    state, rates, data = argument_shapes(spec)
    states = layout.shardings_of(state)
    lowered_init = jax.jit(spec.init, out_shardings=states).lower(*rates)
    lowered_predict = jax.jit(
        make_predict(spec.net, spec.preprocess, spec.tta),
        in_shardings=(states.params, states.model_state, layout.by_image),
        out_shardings=layout.everywhere,
    ).lower(state.params, state.model_state, _images(spec, spec.eval_batch_size))
    with ThreadPoolExecutor(1) as pool:  # XLA compiles these while JAX traces the training steps
        compiling_init = pool.submit(with_same_settings(lowered_init.compile), for_one_call())
        compiling_predict = pool.submit(with_same_settings(lowered_predict.compile), for_few_calls())
        options = at_level(spec.optimization_level, use_fusion_emitters=spec.use_fusion_emitters)
        arguments = (layout, state, *data, _integers(), _integers())
        (_, first), *later = spec.make_train_steps()
        loop = make_run_steps(first, *later, axis_name=spec.axis_name)
        run_many = None
        if spec.runs_per_program == 1:
            steps, executable = STRATEGIES[spec.strategy](loop, *arguments, options=options)
            run_steps = make_timed(steps)
        else:
            run_many, executable = compile_stacked(
                spec.strategy, loop, spec.runs_per_program, *arguments, options=options
            )
            run_steps = make_timed_alone(run_many)
    compiled_init, compiled_predict = compiling_init.result(), compiling_predict.result()

    def predict(params: Params, model_state: State, images: Any, /) -> jax.Array:
        return compiled_predict(params, model_state, layout.put_batch(images))

    @pinned_settings()
    def recompute(params: Params, model_state: State, images: Images, /) -> State:
        if not model_state:
            return model_state
        add = jax.jit(spec.add_statistics, out_shardings=states.model_state, compiler_options=for_few_calls())
        size = spec.eval_batch_size
        for count, batch in enumerate(batches_in_order(images, size), start=1):
            if len(batch) < size:  # the first images fill the last batch
                first = np.resize(np.arange(len(images)), size - len(batch))
                batch = np.concatenate([batch, images[first]])
            model_state = add(model_state, params, model_state, layout.put_batch(batch), jnp.int32(count))
        return model_state

    factor = jit_for_one_call(spec.make_schedule())
    memory = executable.memory_analysis()
    return Program(
        compiled_init,
        run_steps,
        predict,
        jit_for_one_call(spec.trace),
        make_find(spec.net, make_loss(spec.loss), spec.preprocess, spec.teacher),
        partial(make_feed, layout, window=spec.window),
        lambda step: float(factor(step)),
        num_train=spec.num_train,
        batch_size=spec.batch_size,
        eval_batch_size=spec.eval_batch_size,
        num_steps=spec.num_steps,
        run_many=run_many,
        compile_seconds=time.perf_counter() - began,
        temporary_bytes=None if memory is None else memory.temp_size_in_bytes,
        executable=executable,
        measure_layers=make_layer_statistics(
            spec.net,
            spec.make_optimizer(),
            make_loss(spec.loss),
            spec.preprocess,
            spec.frozen_after,
            spec.teacher,
        ),
        recompute=None if spec.swa_from is None else recompute,
        whole=layout.replicate if jax.process_count() > 1 else lambda tree: tree,
        largest=largest,
    )


Shapes = tuple[Any, ...]


def argument_shapes(spec: ProgramSpec) -> tuple[TrainState, Shapes, Shapes]:
    """Return the shapes of the state, of the arguments of `init`, and of the images, labels and order."""
    number = jax.ShapeDtypeStruct((), jnp.float32)
    rates = (jax.eval_shape(lambda: jax.random.key(0)), number, number)
    state = jax.eval_shape(spec.init, *rates)
    num_steps = spec.window or spec.num_train // spec.batch_size
    order = _integers(num_steps, spec.batch_size)
    if spec.window:  # the examples of a window come in batches
        return state, rates, (_images(spec, num_steps, spec.batch_size), order, None)
    return state, rates, (_images(spec, spec.num_train), _integers(spec.num_train), order)


def _images(spec: ProgramSpec, *shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((*shape, *spec.image_shape), jnp.uint8)


def _integers(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.int32)
