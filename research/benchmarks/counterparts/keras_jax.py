"""Keras 3 on JAX, by ``train_on_batch``; ``KERAS_BACKEND`` is set when this module is imported."""

import os
from collections.abc import Callable
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np
from keras import layers

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


def apply(layer: Layer, x: Any) -> Any:
    """The symbolic output of a layer for the symbolic images ``[N, H, W, C]``.

    Raises:
        NotImplementedError: there is no counterpart.
    """
    match layer:
        case Sequential(children):
            for _, child in children:
                x = apply(child, x)
            return x
        case Residual(body, shortcut):
            return layers.add([apply(body, x), x if shortcut is None else apply(shortcut, x)])
        case Conv2D(kernel_size=size, strides=strides, padding="SAME", dilation=1, groups=1):
            return layers.Conv2D(layer.features, size, strides, "same", use_bias=layer.use_bias)(x)
        case BatchNorm(decay, epsilon):
            return layers.BatchNormalization(momentum=decay, epsilon=epsilon)(x)
        case Activation(name):
            return layers.Activation(name)(x)
        case MaxPool(window=window, strides=None, padding="VALID"):
            return layers.MaxPooling2D(window)(x)
        case GlobalAveragePool():
            return layers.GlobalAveragePooling2D()(x)
        case Flatten():
            return layers.Flatten()(x)
        case Dense(features, use_bias):
            return layers.Dense(features, use_bias=use_bias)(x)
        case Dropout(rate):
            return layers.Dropout(rate)(x)
    raise NotImplementedError(f"no Keras layer for {layer}")


def make_train(net: Layer, image_shape: tuple[int, int, int], batch_size: int) -> Callable[[int], None]:
    """Make ``train(num_steps)``."""
    images: Any = keras.Input(image_shape)
    model: Any = keras.Model(images, apply(net, images))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(), loss=loss)
    x = np.random.default_rng(0).normal(size=(batch_size, *image_shape)).astype(np.float32)
    labels = np.arange(batch_size) % model.output_shape[1]

    def train(num_steps: int) -> None:
        for _ in range(num_steps):
            model.train_on_batch(x, labels)

    return train
