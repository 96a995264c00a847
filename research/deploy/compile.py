"""The inference of a trained network, compiled for fixed numbers of images."""

from collections.abc import Sequence
from functools import partial

import jax
import numpy as np

from research.deploy.fold import fold_batch_norm
from research.deploy.formats import Logits
from research.deploy.prune import remove_channels
from research.deploy.winograd import choose_transformed_algorithm, transform_kernels
from research.layers.rewrite import with_inference_algorithms
from research.runs.load import TrainedNetwork
from research.training.evaluate import make_predict
from research.utils.xla import CompilerOptions

BATCH_SIZES = (1, 8, 64)
"""The numbers of images for which a service compiles its network. `predict` uses only the largest one."""


def compute_in_calling_thread() -> None:
    """Make JAX compute on the CPU in the thread that calls a program.

    Otherwise another thread computes, and waking it takes about 0.1 ms for each call of the program. This
    function has no effect after JAX has started.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)


def compile_inference(
    trained: TrainedNetwork,
    batch_sizes: Sequence[int],
    tta: str | None = None,
    options: CompilerOptions = None,
) -> Logits:
    """Return a function that computes the logits of images, padded to the next of some batch sizes.

    Channels that are not used are removed, and batch normalisation is folded. On the CPU, each batch size has
    the algorithms of convolution that are fastest for it.

    Args:
        trained: the network.
        batch_sizes: the numbers of images for which a program is compiled. The function takes at most as many
            images as the largest of them.
        tta: the test-time augmentation, a name in `TTA`; `None` takes that of the run.
        options: options of the compiler.
    """
    net, params, state = remove_channels(trained.net, trained.params, trained.model_state)
    folded, params, state = fold_batch_norm(net, params, state)
    params, state = jax.device_put((params, state))
    programs = {}
    for size in sorted(batch_sizes):
        images = jax.ShapeDtypeStruct((size, *trained.inputs.image_shape), np.uint8)
        net, prepared = folded, params
        if jax.default_backend() == "cpu" and trained.preprocess.dtype == "float32":
            net = with_inference_algorithms(net, images.shape, choose_transformed_algorithm)
            net, prepared = transform_kernels(net, params)
        predict = make_predict(net, trained.preprocess, tta or trained.config.training.tta)
        if size == 1:  # constants need not be passed, which would take a tenth of the time of a call
            call = partial(predict, *jax.device_get((prepared, state)))
            programs[1] = jax.jit(call, compiler_options=options).lower(images).compile()
            continue
        compiled = jax.jit(predict, compiler_options=options).lower(prepared, state, images).compile()
        programs[size] = partial(compiled, prepared, state)

    def logits(images: np.ndarray) -> np.ndarray:
        size = next(size for size in programs if size >= len(images))
        padding = np.zeros((size - len(images), *images.shape[1:]), np.uint8)
        padded = np.concatenate([images, padding]) if len(padding) else images
        return np.asarray(programs[size](padded))[: len(images)]

    return logits
