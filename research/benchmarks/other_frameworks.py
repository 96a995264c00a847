"""A training step of the same network in other frameworks, as their users write it.

Each function returns `train(num_steps)`, which trains by Adam on one batch of random images that already lies
on the device in float32, so that nothing but the step is timed. The initial parameters are those of
`init_arrays`. A framework is imported when its function is called.
"""

import importlib
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from research.frameworks.base import Arrays
from research.frameworks.networks.names import flatten
from research.layers import Sequential, Shape
from research.utils.xla import for_one_call

LEARNING_RATE = 1e-3


Train = Callable[[int], Any]
"""A function that takes a number of training steps and waits for the last one."""

MakeTrain = Callable[[Sequential, Shape, int], Train]
"""A function of a network, the shape of one image and a batch size that returns the training in a framework.

It raises `NotImplementedError` if the framework has no such layer or needs a device that is not there.
"""


def init_arrays(net: Sequential, image_shape: Shape) -> Arrays:
    """Return the initial parameters and batch-norm statistics that every framework starts from, by path."""
    init = jax.jit(lambda key: net.init(key, (1, *image_shape)), compiler_options=for_one_call())
    params, state = init(jax.random.key(0))
    return flatten(params) | flatten(state)


def random_images(image_shape: Shape, batch_size: int) -> np.ndarray:
    """Return a batch of float32 images `[N, H, W, C]`."""
    return np.random.default_rng(0).normal(size=(batch_size, *image_shape)).astype(np.float32)


def flax_linen(net: Sequential, image_shape: Shape, batch_size: int) -> Train:
    """Return the training of Flax linen with optax, one compiled program a step."""
    import optax

    from research.frameworks.networks import flax_linen as networks

    module, optimizer = networks.build(net, image_shape), optax.adam(LEARNING_RATE)
    variables = networks.load(init_arrays(net, image_shape))
    x = jnp.asarray(random_images(image_shape, batch_size))
    params, statistics = variables["params"], variables["batch_stats"]
    logits = jax.eval_shape(lambda: module.apply(variables, x, train=False))
    labels = jnp.arange(batch_size) % logits.shape[1]

    @jax.jit
    def train_step(params: Any, statistics: Any, opt_state: Any, step: Any) -> Any:
        def mean_loss(params: Any) -> Any:
            key = jax.random.fold_in(jax.random.key(2), step)
            logits, updated = module.apply(
                {"params": params, "batch_stats": statistics},
                x,
                train=True,
                rngs={"dropout": key},
                mutable=["batch_stats"],
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return losses.mean(), updated.get("batch_stats", {})

        grads, statistics = jax.grad(mean_loss, has_aux=True)(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), statistics, opt_state

    state: Any = (params, statistics, optimizer.init(params))

    def train(num_steps: int) -> None:
        nonlocal state
        for step in range(num_steps):
            state = train_step(*state, step)
        jax.block_until_ready(state)

    return train


def keras_jax(net: Sequential, image_shape: Shape, batch_size: int) -> Train:
    """Return the training of Keras on JAX by `train_on_batch`."""
    os.environ["KERAS_BACKEND"] = "jax"
    keras: Any = importlib.import_module("keras")
    from research.frameworks.networks import keras_layers as networks

    model = networks.build(net, image_shape)
    networks.load(model, init_arrays(net, image_shape))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE), loss=loss)
    x = random_images(image_shape, batch_size)
    labels = np.arange(batch_size) % model.output_shape[1]

    def train(num_steps: int) -> None:
        for _ in range(num_steps):
            model.train_on_batch(x, labels)

    return train


def torch_eager(
    net: Sequential,
    image_shape: Shape,
    batch_size: int,
    *,
    channels_last: bool = False,
    cuda_graph: bool = False,
) -> Train:
    """Return the training of PyTorch, eagerly or by replaying a CUDA graph of the whole step.

    Args:
        net: the network.
        image_shape: `(H, W, C)` of one image.
        batch_size: number of images in a step.
        channels_last: store images and kernels in memory as NHWC.
        cuda_graph: capture one step and replay it.

    Raises:
        NotImplementedError: PyTorch has no such layer, or there is no GPU for it.
    """
    import torch
    import torch.nn.functional as F

    from research.frameworks.networks import pytorch as networks

    place, layout = torch_device(), torch.channels_last if channels_last else torch.contiguous_format
    if cuda_graph and place != "cuda":
        raise NotImplementedError("a CUDA graph needs a GPU")
    network: Any = networks.build(net, image_shape)
    networks.load(network, init_arrays(net, image_shape))
    network.to(place, memory_format=layout)
    x = torch.from_numpy(random_images(image_shape, batch_size)).permute(0, 3, 1, 2)
    x = x.to(place).contiguous(memory_format=layout)
    with torch.no_grad():
        num_classes = network.eval()(x[:1]).shape[1]
    network.train()
    labels = torch.arange(batch_size, device=place) % num_classes
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE, capturable=cuda_graph)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(network(x), labels).backward()
        optimizer.step()

    once = CapturedStep(step) if cuda_graph else step

    def train(num_steps: int) -> None:
        for _ in range(num_steps):
            once()
        synchronize_torch()

    return train


class CapturedStep:
    """A step on the GPU that is recorded once, so that one call launches all of its kernels.

    Source: the whole-network capture of https://docs.pytorch.org/docs/stable/notes/cuda.html.
    """

    def __init__(self, step: Callable[[], None]) -> None:
        import torch

        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # PyTorch asks for a few steps on another stream before the capture
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            step()
        self._step = step  # keeps the tensors alive whose memory the graph reads and writes

    def __call__(self) -> None:
        """Take the step once more."""
        self._graph.replay()


def torch_device() -> str:
    """Return the device on which PyTorch computes: the GPU if JAX uses one, else the CPU.

    On a GPU the products of float32 matrices may take TF32, as in JAX and as in the convolutions of both.

    Raises:
        NotImplementedError: JAX has a GPU and this PyTorch has none.
    """
    import torch

    if jax.default_backend() != "gpu":
        return "cpu"
    if not torch.cuda.is_available():
        raise NotImplementedError("this PyTorch finds no GPU")
    torch.set_float32_matmul_precision("high")
    return "cuda"


def synchronize_torch() -> None:
    """Wait until the GPU has done what PyTorch launched, if PyTorch uses one."""
    import torch

    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
