"""Statistics of every layer in one training step: activations, gradients, updates and weights."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from research.analysis.activations import describe_outputs
from research.analysis.walk import Node, walk
from research.layers import Sequential
from research.layers.base import by_path, fold_in_keys
from research.training.distillation import Teacher, teach
from research.training.freeze import IsFrozen, keep_frozen
from research.training.objective import Objective
from research.training.program import MeasureLayers
from research.training.state import Batch, TrainState, masked
from research.training.step import Preprocess, example_keys
from research.utils.xla import for_few_calls

NUM_BINS = 32
"""Number of bins of a histogram."""


def make_layer_statistics(
    net: Sequential,
    optimizer: optax.GradientTransformation,
    objective: Objective,
    preprocess: Preprocess,
    frozen_after: Callable[[int], IsFrozen] = lambda step: lambda path: False,
    teacher: Teacher | None = None,
) -> MeasureLayers:
    """Return a function that measures every layer in the next training step, which it does not take.

    The function is compiled on its own, and the training program does not change. It computes on one device,
    with the batch as a whole. It mixes no images (mixup and cutmix), and mirrors none by the epoch.

    Args:
        net: the network.
        optimizer: the optimizer, which turns gradients into updates.
        objective: the objective of the training step.
        preprocess: the preprocessing of the training step.
        frozen_after: a function from the number of steps so far to which parameters are frozen in the next
            step. Their gradients are measured like all others, and their updates are zero.
        teacher: the teacher of the training step.

    Returns:
        The function `measure_layers(state, batch, histograms)`. It returns a dict by the path of the layer,
        in the order in which the layers run. Each entry has the `mean`, the deviation `std` and the share of
        `zeros` of the output. An activation also has the share of `saturated` elements and of `dead` units;
        see `activation_statistics`. A layer with parameters also has their number `size`, and the L2 norms
        `gradient`, `update` and `weight`. With `histograms`, an entry also has `histograms`: for
        `activations`, `gradients` and `weights` the smallest and the largest value, the sum, the sum of
        squares, and the counts of `NUM_BINS` bins of equal width.
    """

    @partial(jax.jit, compiler_options=for_few_calls(), static_argnames=("histograms", "frozen"))
    def measure(
        state: TrainState, batch: Batch, histograms: bool, frozen: tuple[str, ...]
    ) -> dict[str, dict[str, Any]]:
        keys = example_keys(state, len(batch.labels))
        images = preprocess(batch.images, keys=fold_in_keys(keys, 1))

        def mean_loss(params: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
            logits, _, outputs = net.trace(
                params, state.model_state, images, train=True, key=fold_in_keys(keys, 0)
            )
            losses = objective(logits, batch.labels, *teach(teacher, state.teacher, images))
            return losses.mean(), outputs

        def without_frozen(tree: Any) -> Any:
            return keep_frozen(tree, jax.tree.map(jnp.zeros_like, tree), frozen.__contains__)

        def grad_fn(params: Any, _: int) -> Any:  # for SAM, which takes a second gradient of the batch
            return without_frozen(masked(jax.grad(mean_loss, has_aux=True)(params)[0], state.masks))

        grads, outputs = jax.grad(mean_loss, has_aux=True)(state.params)
        grads = masked(grads, state.masks)
        with_extra_args = optax.with_extra_args_support(optimizer)
        updates, _ = with_extra_args.update(
            without_frozen(grads), state.opt_state, state.params, grad_fn=grad_fn
        )
        updates = without_frozen(updates)
        nodes = walk(net, images.shape)
        found: dict[str, dict[str, Any]] = describe_outputs(nodes, images, outputs)
        for node in nodes:
            trees = {"gradients": grads, "updates": updates, "weights": state.params}
            of_layer = {name: _of_layer(tree, node) for name, tree in trees.items()}
            if node.params:
                norms = {name.removesuffix("s"): optax.tree.norm(tree) for name, tree in of_layer.items()}
                found[node.path] |= {"size": sum(leaf.size for leaf in jax.tree.leaves(node.params)), **norms}
            if histograms:
                counted = {"activations": outputs[node.path]}
                counted |= {name: of_layer[name] for name in ("gradients", "weights") if node.params}
                found[node.path]["histograms"] = {name: _histogram(tree) for name, tree in counted.items()}
        return found

    def measure_layers(state: TrainState, batch: Batch, histograms: bool, /) -> dict[str, dict[str, Any]]:
        state, batch = jax.device_put((state, batch), jax.local_devices()[0])
        is_frozen = frozen_after(int(state.step))
        frozen = tuple(filter(is_frozen, by_path(state.params)))
        found = jax.device_get(measure(state, batch, histograms, frozen))
        order = [node.path for node in walk(net, batch.images.shape)]  # jit has sorted the paths by name
        return {path: jax.tree.map(lambda leaf: leaf.tolist(), found[path]) for path in order}

    return measure_layers


def _of_layer(tree: Any, node: Node) -> Any:
    """Return the part of a tree of parameters that belongs to a layer, or `{}` if the layer has none."""
    for name in node.path.split("/") if node.params else ():
        tree = tree[name]
    return tree if node.params else {}


def _histogram(tree: Any) -> dict[str, jax.Array]:
    values = jnp.concatenate([leaf.ravel().astype(jnp.float32) for leaf in jax.tree.leaves(tree)])
    counts, _ = jnp.histogram(values, NUM_BINS)
    ends = {"min": values.min(), "max": values.max()}
    return {**ends, "sum": values.sum(), "sum_squares": (values**2).sum(), "counts": counts.astype(jnp.int32)}
