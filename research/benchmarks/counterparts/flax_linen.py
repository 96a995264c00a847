"""Flax linen, one compiled program a step."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from research.layers import (
    Activation,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Layer,
    MaxPool,
    Residual,
    Sequential,
)
from research.ops.activation import ACTIVATIONS


class Net(nn.Module):
    """The module of a layer."""

    layer: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply it to images ``[N, H, W, C]`` while training."""
        match self.layer:
            case Sequential(layers):
                for _, child in layers:
                    x = Net(child)(x)
                return x
            case Residual(body, shortcut):
                return Net(body)(x) + (x if shortcut is None else Net(shortcut)(x))
            case Conv2D(kernel_size=int(size), strides=strides, padding="SAME", dilation=1, groups=1) as conv:
                return nn.Conv(conv.features, (size, size), strides, use_bias=conv.use_bias)(x)
            case BatchNorm(decay, epsilon):
                return nn.BatchNorm(use_running_average=False, momentum=decay, epsilon=epsilon)(x)
            case Activation(name):
                return ACTIVATIONS[name](x)
            case MaxPool(window=int(window), strides=None, padding="VALID"):
                return nn.max_pool(x, (window, window), strides=(window, window))
            case GlobalAveragePool():
                return x.mean((1, 2))
            case Flatten():
                return x.reshape(len(x), -1)
            case Dense(features, use_bias):
                return nn.Dense(features, use_bias)(x)
            case Dropout(rate):
                return nn.Dropout(rate, deterministic=False)(x)
        raise NotImplementedError(f"no Flax module for {self.layer}")


def make_train(net: Layer, image_shape: tuple[int, int, int], batch_size: int) -> Callable[[int], None]:
    """Make ``train(num_steps)``."""
    module, optimizer = Net(net), optax.adam(1e-3)
    x = jax.random.normal(jax.random.key(0), (batch_size, *image_shape))
    variables: Any = jax.jit(module.init)(jax.random.key(1), x)
    params, statistics = variables["params"], variables.get("batch_stats", {})
    logits, _ = jax.eval_shape(
        lambda: module.apply(variables, x, rngs={"dropout": jax.random.key(0)}, mutable=["batch_stats"])
    )
    labels = jnp.arange(batch_size) % logits.shape[1]

    @jax.jit
    def train_step(params: Any, statistics: Any, opt_state: Any, step: Any) -> Any:
        def mean_loss(params: Any) -> Any:
            key = jax.random.fold_in(jax.random.key(2), step)
            logits, updated = module.apply(
                {"params": params, "batch_stats": statistics},
                x,
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
