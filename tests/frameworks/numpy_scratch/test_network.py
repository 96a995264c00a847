from functools import partial

import numpy as np

from research.data import load_dataset
from research.frameworks.numpy_scratch import layers
from research.frameworks.numpy_scratch.network import REFERENCE, forward, loss_and_gradients
from research.frameworks.numpy_scratch.optimizers import adam
from research.frameworks.parity import draw_weights

SHAPES = {
    "conv1/kernel": (3, 3, 1, 16),
    "conv1/bias": (16,),
    "conv2/kernel": (3, 3, 16, 32),
    "conv2/bias": (32,),
    "dense1/kernel": (128, 64),
    "dense1/bias": (64,),
    "logits/kernel": (64, 10),
    "logits/bias": (10,),
}


def digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    images, labels = getattr(load_dataset("digits"), split)
    return images.astype(np.float32) / 255, labels


def train(network, params, batches, learning_rate):
    optimizer = adam(learning_rate)
    state = optimizer.init(params)
    losses = []
    for images, labels in batches:
        loss, gradients = loss_and_gradients(network, params, images, labels)
        params, state = optimizer.update(params, gradients, state)
        losses.append(loss)
    return params, losses


def test_one_batch_is_overfitted():
    images, labels = digits("train")
    _, losses = train(REFERENCE, draw_weights(SHAPES, 0), [(images[:32], labels[:32])] * 60, 3e-3)
    assert losses[-1] < 0.01


def test_at_least_95_percent_on_digits():
    images, labels = digits("train")
    generator = np.random.default_rng(0)
    order = np.concatenate([generator.permutation(len(labels))[:1280] for _ in range(12)]).reshape(-1, 64)
    params, _ = train(REFERENCE, draw_weights(SHAPES, 0), [(images[i], labels[i]) for i in order], 3e-3)
    images, labels = digits("test")
    assert (forward(REFERENCE, params, images)[0].argmax(axis=1) == labels).mean() >= 0.95


def test_a_network_of_every_layer_overfits_one_batch():
    running = {"mean": np.zeros(8, np.float32), "variance": np.ones(8, np.float32)}
    generator = np.random.default_rng(0)
    network = (
        ("conv1", partial(layers.conv2d, stride=2, padding=1)),
        ("norm1", partial(layers.batch_norm, running=running, train=True)),
        ("act1", layers.leaky_relu),
        ("pool1", partial(layers.average_pool, window=2, stride=1)),
        ("act2", layers.tanh),
        ("flatten", layers.flatten),
        ("dropout", partial(layers.dropout, rate=0.1, generator=generator)),
        ("dense1", layers.dense),
        ("act3", layers.elu),
        ("dense2", layers.dense),
        ("act4", layers.sigmoid),
        ("logits", layers.dense),
    )
    params = {"norm1/scale": np.ones(8, np.float32), "norm1/bias": np.zeros(8, np.float32)}
    shapes = {"conv1/kernel": (3, 3, 1, 8), "dense1/kernel": (72, 32), "dense2/kernel": (32, 32)}
    shapes |= {"logits/kernel": (32, 10), "conv1/bias": (8,), "dense1/bias": (32,), "dense2/bias": (32,)}
    params |= draw_weights(shapes | {"logits/bias": (10,)}, 0)
    images, labels = digits("train")
    _, losses = train(network, params, [(images[:32], labels[:32])] * 200, 1e-2)
    assert np.mean(losses[-10:]) < 0.1
