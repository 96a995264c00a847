from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

from research.deploy.winograd import choose_transformed_algorithm, transform_kernels
from research.layers import Conv2D, Flatten, Residual, Sequential
from research.layers.base import abstract_init, by_path
from research.layers.rewrite import with_inference_algorithms


@pytest.mark.parametrize("algorithm", ["winograd2", "winograd4"])
def test_transformed_kernels_give_the_outputs_of_the_network(algorithm):
    conv = partial(Conv2D, 6, algorithm=algorithm)
    body = Sequential((("conv", conv(use_bias=False)), ("other", conv(algorithm="lax"))))
    layers = ("first", conv(padding_mode="reflect")), ("block", Residual(body)), ("groups", conv(groups=2))
    net = Sequential((*layers, ("valid", conv(padding="VALID")), ("flatten", Flatten())))
    params, state = net.init(jax.random.key(0), (1, 9, 7, 3))
    x = jax.random.normal(jax.random.key(1), (2, 9, 7, 3))
    expected = jax.jit(partial(net.apply, train=False))(params, state, x)[0]
    fast, prepared = transform_kernels(net, params)
    found = jax.jit(partial(fast.apply, train=False))(prepared, state, x)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    tile = int(algorithm[-1]) + 2
    sizes = {path: leaf.shape[0] for path, leaf in by_path(prepared).items() if "kernel" in path}
    assert sizes == {
        "first/kernel": tile, "block/body/conv/kernel": tile, "block/body/other/kernel": 3,
        "groups/kernel": 3, "valid/kernel": tile,
    }  # fmt: skip
    shapes = jax.tree.map(lambda leaf: leaf.shape, abstract_init(fast, (1, 9, 7, 3)))
    assert shapes == jax.tree.map(lambda leaf: leaf.shape, (prepared, state))


def test_each_convolution_has_the_algorithm_for_its_shape():
    body = Sequential((("wide", Conv2D(64)), ("strided", Conv2D(64, strides=2, padding=1))))
    layers = [("stem", Conv2D(64)), ("block", body), ("fixed", Conv2D(64, algorithm="im2col"))]
    layers += [("groups", Conv2D(64, groups=2)), ("last", Conv2D(96)), ("pointwise", Conv2D(64, 1))]
    net = with_inference_algorithms(Sequential(tuple(layers)), (1, 16, 16, 3))
    found: dict[str, Any] = dict(net.layers)
    assert [layer.algorithm for _, layer in found.pop("block").layers] == ["winograd4", "lax"]
    assert {name: layer.algorithm for name, layer in found.items()} == {
        "stem": "lax", "fixed": "im2col", "groups": "auto", "last": "winograd2", "pointwise": "lax",
    }  # fmt: skip
    large: Any = with_inference_algorithms(Sequential(tuple(layers)), (4, 16, 16, 3)).layers
    assert dict(large)["last"].algorithm == "winograd4"


def test_transformed_kernels_make_winograd_worthwhile_from_32_channels_on():
    def chosen(*shape: int, size: int = 14, num_images: int = 1) -> str:
        return choose_transformed_algorithm(num_images, (size, size), shape)

    assert chosen(3, 3, 32, 64) == chosen(3, 3, 32, 32, size=8) == chosen(3, 3, 64, 64, size=5) == "winograd4"
    assert chosen(3, 3, 31, 64) == chosen(3, 3, 32, 63, size=5) == chosen(1, 1, 64, 64) == "lax"
    assert chosen(3, 3, 512, 512, size=7) == "winograd2"
    assert chosen(3, 3, 512, 512, size=7, num_images=4) == "winograd4"
    assert choose_transformed_algorithm(1, (14, 14), (3, 3, 32, 64), strides=(2, 2)) == "lax"
    assert choose_transformed_algorithm(1, (14, 14), (3, 3, 32, 64), dilation=(2, 2)) == "lax"
