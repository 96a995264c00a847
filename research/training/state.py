"""The values that a training step reads and returns: the state of training, a batch and the metrics."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from research.layers.base import Layer, Params, Shape, State
from research.training.distillation import TeacherArrays
from research.training.optimizers import set_noise_key


class TrainState(NamedTuple):
    """The state of training. It holds arrays only.

    It is donated to most compiled steps, which reuse its memory; see `parallel.strategies`.

    Args:
        step: the number of steps so far, an int32 scalar.
        params: the parameters of the network.
        model_state: the state of the network, such as running averages.
        opt_state: the state of the optimizer, an `optax.OptState`.
        key: a single typed key, from which the keys of all steps are made.
        average: the averages of `params` and of `model_state`, or `()` if the run keeps no average.
        masks: for each parameter, where it is kept (true) and where it is pruned, or `()` if the run prunes
            nothing.
        teacher: the parameters and the state of the teacher of distillation, which no step changes, or `()`.
            Checkpoints do not hold them.
    """

    step: jax.Array
    params: Params
    model_state: State
    opt_state: Any
    key: jax.Array
    average: tuple[()] | tuple[Params, State] = ()
    masks: Any = ()
    teacher: TeacherArrays = ()


class Batch(NamedTuple):
    """The examples of one step.

    Args:
        images: the images `[N, H, W, C]`, uint8.
        labels: the classes `[N]`, int32, or soft labels `[N, K]`, float32.
    """

    images: jax.Array
    labels: jax.Array


class Metrics(NamedTuple):
    """Sums over examples, which can be added over batches, steps and devices.

    Args:
        loss: the sum of the losses in nats, a float32 scalar, or `[num_steps]` for the steps of an epoch.
        correct: the number of examples that are classified correctly, an int32 scalar.
        num_examples: the number of examples, an int32 scalar.
    """

    loss: jax.Array
    correct: jax.Array
    num_examples: jax.Array


def init_state(
    net: Layer,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    in_shape: Shape,
    *,
    averaged: bool = False,
    pruned: bool = False,
) -> TrainState:
    """Return the state before the first step.

    Args:
        net: the network.
        optimizer: the optimizer.
        key: a single typed key. `fold_in(key, 0)` gives the parameters, `fold_in(key, 1)` is the key of the
            state, and `fold_in(key, 3)` that of gradient noise.
        in_shape: the shape of the input of the network, `[N, H, W, C]`. `N` may be any number.
        averaged: whether the state holds an average of the parameters and of the model state.
        pruned: whether the state holds masks, of which every number is true.
    """
    params, model_state = net.init(jax.random.fold_in(key, 0), in_shape)
    opt_state = set_noise_key(optimizer.init(params), jax.random.fold_in(key, 3))
    average = (params, model_state) if averaged else ()
    masks = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), params) if pruned else ()
    return TrainState(
        jnp.zeros((), jnp.int32), params, model_state, opt_state, jax.random.fold_in(key, 1), average, masks
    )


def masked(tree: Any, masks: Any) -> Any:
    """Return a tree like the parameters with zeros where the masks are false, or `tree` if there are none.

    Example:
        >>> masked({"bias": jnp.ones(2)}, {"bias": jnp.array([True, False])})["bias"].tolist()
        [1.0, 0.0]
    """
    return jax.tree.map(lambda leaf, mask: jnp.where(mask, leaf, 0), tree, masks) if masks else tree


def copy_arrays(tree: Any) -> Any:
    """Return a copy of a tree of arrays on their devices. `jnp.copy` would compile a program per shape."""
    return jax.tree.map(lambda leaf: jax.device_put(leaf, leaf.sharding, may_alias=False), tree)


def eval_params(state: TrainState) -> tuple[Params, State]:
    """Return the parameters and the model state that are evaluated, kept and exported.

    They are the averages of the state if it has any. Otherwise they are those of the state, unless a part of
    the optimizer's state has a method `eval_params(params)`, which returns other parameters. What is pruned
    is zero in all of them. The arrays may be those of the state, so they are invalid after the state is
    donated.
    """
    params, model_state = state.average or (state.params, state.model_state)
    for part in jax.tree.leaves(() if state.average else state.opt_state, is_leaf=_has_eval_params):
        if _has_eval_params(part):
            params = _eval_params(part, params)
    return (_masked(params, state.masks) if state.masks else params), model_state


def _has_eval_params(part: Any) -> bool:
    return hasattr(part, "eval_params")


_masked = jax.jit(masked)


@jax.jit
def _eval_params(part: Any, params: Params) -> Params:
    return part.eval_params(params)
