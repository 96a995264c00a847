"""The training step, a pure function that the loop of an epoch and every parallel strategy use."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax

from research.layers.base import Layer, fold_in_keys
from research.training.accumulate import accumulate
from research.training.average import Weight, towards
from research.training.collectives import average, position, varying
from research.training.distillation import Teacher, TeacherArrays, teach
from research.training.freeze import IsFrozen, join_params, keep_frozen, split_params
from research.training.mixing import DrawWeights, Mixture, draw_mixture, mix_images, mix_labels
from research.training.objective import Objective, is_correct
from research.training.state import Batch, Metrics, TrainState, masked


@runtime_checkable
class Preprocess(Protocol):
    """A function that turns stored pixels into the input of a network, such as `data.Preprocess`."""

    def __call__(self, images: jax.Array, *, keys: jax.Array | None = None) -> jax.Array:
        """Return the input `[N, H, W, C]` for images `[N, H, W, C]`, augmented if keys `[N]` are given."""
        ...


TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
"""A pure function of a state and a batch that returns the next state and the metrics of the batch."""


def make_train_step(
    net: Layer,
    optimizer: optax.GradientTransformation,
    objective: Objective,
    preprocess: Preprocess,
    *,
    axis_name: str | None = None,
    num_parts: int = 1,
    average_weight: Weight | None = None,
    alternate: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
    mixing: DrawWeights | None = None,
    is_frozen: IsFrozen = lambda path: False,
    teacher: Teacher | None = None,
) -> TrainStep:
    """Return the training step.

    The key of a step is `fold_in(state.key, state.step)`, and the key of example `i` of the batch is
    `fold_in(step_key, i)`. The key of an example is folded with 0 for the network and with 1 for
    augmentation.

    Args:
        net: the network, whose outputs are logits `[N, K]`.
        optimizer: the optimizer, which turns gradients into updates.
        objective: a function of logits `[N, K]` and labels that returns losses `[N]`; see `losses`.
        preprocess: a function `preprocess(images, keys=keys)` that scales and augments the images.
        axis_name: the axis of `shard_map` or `pmap` over which the batch is split in equal parts. It is
            `None` if the step gets the whole batch, as under jit.
        num_parts: the number of parts of a batch. Their gradients are computed one after the other, and
            added.
        average_weight: the weight of the new parameters in the average that the state holds; `None` if it
            holds no average.
        alternate: a function of the stored images and the step, which returns the images that the step uses.
        mixing: draws the weights with which each example is mixed with another of the batch; `None` does not
            mix. The loss then gets soft labels, and the accuracy counts the label with the larger share.
        is_frozen: whether the parameter of a path is frozen. No gradient of a frozen parameter is computed,
            and the parameter and its arrays in the optimizer keep their bits.
        teacher: the network whose logits the objective also gets; its arrays are in the state.

    Returns:
        The pure function `train_step(state, batch) -> (state, metrics)`.
    """

    def mean_loss(
        params: Any,
        model_state: Any,
        batch: Batch,
        keys: jax.Array,
        mixture: Mixture | None,
        *,
        arrays: TeacherArrays,
    ) -> Any:
        images, labels = preprocess(batch.images, keys=fold_in_keys(keys, 1)), batch.labels
        if mixture is not None:
            partners = preprocess(mixture.partners.images, keys=fold_in_keys(mixture.keys, 1))
            images = mix_images(images, partners, mixture.weights)
        logits, model_state = net.apply(params, model_state, images, train=True, key=fold_in_keys(keys, 0))
        if mixture is not None:
            labels = mix_labels(labels, mixture.partners.labels, mixture.weights, logits)
        losses = objective(logits, labels, *teach(teacher, arrays, images))
        # The sum has the dtype of the loss, so that devices exchange both sums and the gradients at once.
        correct = is_correct(logits, labels).sum(dtype=losses.dtype).astype(jnp.int32)
        return losses.mean(), (model_state, Metrics(losses.sum(), correct, jnp.int32(losses.size)))

    with_extra_args = optax.with_extra_args_support(optimizer)

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        keys = example_keys(state, batch.labels.shape[0], axis_name)
        if alternate is not None:
            batch = batch._replace(images=alternate(batch.images, state.step))
        mixture = None
        if mixing is not None:
            step_key = jax.random.fold_in(state.key, state.step)
            mixture = draw_mixture(mixing, step_key, batch, axis_name)

        def gradient_at(params: Any) -> Any:
            trained, frozen = split_params(varying(params, axis_name), is_frozen)

            def loss(trained: Any, *rest: Any) -> Any:
                return mean_loss(join_params(trained, frozen), *rest, arrays=state.teacher)

            gradient = accumulate(jax.grad(loss, has_aux=True), num_parts, axis_name)
            grads, (model_state, metrics) = gradient(trained, state.model_state, batch, keys, mixture)
            grads, model_state = average((grads, model_state), axis_name)
            zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), frozen)
            return join_params(grads, zeros), model_state, metrics

        def grad_fn(params: Any, _: int) -> Any:  # for SAM, which takes a second gradient of the batch
            return masked(gradient_at(params)[0], state.masks)

        grads, model_state, metrics = gradient_at(state.params)
        grads = masked(grads, state.masks)
        updates, opt_state = with_extra_args.update(grads, state.opt_state, state.params, grad_fn=grad_fn)
        params: Any = masked(optax.apply_updates(state.params, updates), state.masks)
        old = state.params, state.opt_state
        params, opt_state = keep_frozen((params, opt_state), old, is_frozen)
        mean: Any = state.average
        if average_weight is not None:
            mean = towards((params, model_state), mean, average_weight(state.step + 1))
        fixed = (state.masks, state.teacher)
        return TrainState(state.step + 1, params, model_state, opt_state, state.key, mean, *fixed), metrics

    return train_step


def example_keys(state: TrainState, count: int, axis_name: str | None = None) -> jax.Array:
    """Return the keys of the examples of a step.

    Args:
        state: the state before the step.
        count: the number of examples on this device.
        axis_name: the axis over which the batch is split, or `None`.

    Returns:
        The typed keys `[count]` of the examples on this device.
    """
    step_key = jax.random.fold_in(state.key, state.step)
    positions = position(axis_name) * count + jnp.arange(count)
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(step_key, positions)
