"""The networks of `research.models` in other frameworks: one `build` for each framework.

`build(net, image_shape)` turns a network of layer values into a module of the framework. The other functions
copy parameters and batch-norm statistics between that module and the names and layouts of `research.layers`.
The comparison of frameworks, the test of parity and the timings all use these modules.
"""

from typing import Any

from research.frameworks.base import Task
from research.layers import Sequential, Shape
from research.layers.base import abstract_init, by_path
from research.models import MODELS
from research.utils.lookup import lookup


def make_network(task: Task, **arguments: Any) -> Sequential:
    """Return the layers of a task's network.

    Args:
        task: names the model and its arguments.
        arguments: further keyword arguments of the model.

    Raises:
        ValueError: there is no model of that name.
    """
    model = lookup(MODELS, task.model, "model")
    return model(task.image_shape, task.num_classes, **task.model_arguments, **arguments)


def parameter_shapes(task: Task) -> dict[str, Shape]:
    """Return the shapes of the parameters of a task's network by path. Nothing is computed."""
    params, _ = abstract_init(make_network(task), (1, *task.image_shape))
    return {path: array.shape for path, array in by_path(params).items()}
