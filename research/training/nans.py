"""A search for the first value of a training step that is not finite."""

from typing import Any

import jax
import jax.numpy as jnp

from research.data import Split
from research.layers.base import Container, by_path, fold_in_keys
from research.training.distillation import Teacher, teach
from research.training.objective import Objective
from research.training.program import Examples, Find, Program, RunSteps
from research.training.state import Batch, TrainState, copy_arrays, eval_params
from research.training.step import Preprocess, example_keys
from research.utils.xla import for_few_calls, jit_for_one_call


@jit_for_one_call
def all_finite(tree: Any) -> jax.Array:
    """Return whether every number of a tree is finite, bool `[]`; integers always are."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)] or [jnp.array(True)]).all()


def first_bad(values: dict[str, Any]) -> str | None:
    """Return the first name whose array holds a value that is not finite, or `None`."""
    return next((name for name, value in values.items() if not all_finite(value)), None)


def make_find(
    net: Container, objective: Objective, preprocess: Preprocess, teacher: Teacher | None = None
) -> Find:
    """Return a function that names the first value of a step that is not finite.

    The values are examined in the order in which a step computes them: the images, the outputs from the first
    to the last layer, the loss, and the gradients from the last to the first layer. An evaluation has no
    gradients.

    Args:
        net: the network.
        objective: the objective of the training step.
        preprocess: the preprocessing of the training step.
        teacher: the teacher of the training step.

    Returns:
        The function `find(state, batch, train)`; `train=False` examines an evaluation. It returns `None` if
        all values are finite.
    """

    def find(state: TrainState, batch: Batch, train: bool) -> str | None:
        names: list[str] = []

        def forward(params: Any) -> Any:
            keys = example_keys(state, len(batch.labels)) if train else None
            images = preprocess(batch.images, keys=fold_in_keys(keys, 1))
            logits, _, outputs = net.trace(
                params, state.model_state, images, train=train, key=fold_in_keys(keys, 0)
            )
            losses = objective(logits, batch.labels, *teach(teacher, state.teacher, images))
            names[:] = outputs  # jit returns a dict sorted by its keys
            return losses.mean(), (images, tuple(outputs.values()), losses.sum())

        run = jax.grad(forward, has_aux=True) if train else lambda params: ({}, forward(params)[1])
        grads, (images, outputs, loss) = jax.jit(run, compiler_options=for_few_calls())(state.params)

        def place(path: str) -> int:
            return names.index(max((name for name in names if path.startswith(f"{name}/")), key=len))

        last_first = sorted(by_path(grads).items(), key=lambda item: -place(item[0]))
        return first_bad(
            {"the images": images}
            | {f"the output of {name}": output for name, output in zip(names, outputs, strict=True)}
            | {"the loss": loss}
            | {f"the gradient of {path}": grad for path, grad in last_first}
        )

    return find


class Watch:
    """Keeps a copy of the last finite state, so that the steps after it can be run again.

    Args:
        run_steps: the compiled steps.
        find: the function that `make_find` returns.
    """

    def __init__(self, run_steps: RunSteps, find: Find) -> None:
        self._run_steps = run_steps
        self._find = find
        self._kept: tuple[TrainState, Examples, int, int] | None = None

    def before(self, state: TrainState, examples: Examples, start: int, stop: int) -> None:
        """Keep the state before some steps, if the state is finite."""
        if self._kept is None or all_finite((state.params, state.model_state)):
            self._kept = copy_arrays(state), examples, start, stop

    def find(self) -> str | None:
        """Return the first value that is not finite, and its step; the steps are run again one by one."""
        if self._kept is None:
            return None
        state, each, start, stop = self._kept
        images, labels, order = each
        if path := first_bad(by_path((state.params, state.model_state))):
            return f"the first value of {path.partition('/')[2]}"
        for index in range(start, stop):
            copy = copy_arrays(state)
            after, metrics, *_ = self._run_steps(copy, each, index, index + 1)
            moved = (after.params, after.model_state)
            if not all_finite((metrics.loss, moved)):
                examples = index if order is None else order[index]
                name = self._find(state, Batch(images[examples], labels[examples]), True)
                path = first_bad(by_path(moved)) or "/"
                return f"{name or 'the new value of ' + path.partition('/')[2]} at step {int(state.step) + 1}"
            state = after
        return None


def first_in_validation(program: Program, state: TrainState, split: Split) -> str | None:
    """Return the name of the first value that is not finite in an evaluation of a split, or `None`."""
    params, model_state = eval_params(state)
    state = state._replace(params=params, model_state=model_state)
    for start in range(0, len(split.labels), program.eval_batch_size):
        batch = Batch(*(jnp.asarray(array[start : start + program.eval_batch_size]) for array in split))
        if name := program.find(state, batch, False):
            return f"{name} at validation"
    return None
