from research.analysis import Pass, profile_layers
from research.layers import Activation, Dense, Flatten, Residual, Sequential


def test_each_layer_has_the_time_and_memory_of_both_passes():
    body = Sequential((("dense", Dense(300, use_bias=False)), ("act", Activation("tanh"))))
    net = Sequential((("flatten", Flatten()), ("block", Residual(body)), ("logits", Dense(2))))
    layers, network = profile_layers(net, (64, 10, 10, 3), rounds=2)
    by_path = {layer.path: layer for layer in layers}
    assert list(by_path) == ["flatten", "block/body/dense", "block/body/act", "block", "logits"]
    assert by_path["flatten"].backward == Pass(0.0, 0)  # no parameters come before it
    x, kernel = 4 * 64 * 300, 4 * 300 * 300
    dense = by_path["block/body/dense"]
    assert dense.forward.num_bytes == x + kernel + x
    # its input is that of the network, which needs no gradient: x and dy are read, dkernel is written
    assert 2 * x + kernel <= (dense.backward.num_bytes or 0) < 2 * x + 2 * kernel
    assert (by_path["block/body/act"].backward.num_bytes or 0) >= 3 * x
    assert by_path["block"].forward.num_bytes == 3 * x
    passes = [layer.forward for layer in (*layers, network)] + [layer.backward for layer in layers[1:]]
    assert all(each.ms > 0 for each in passes)
    assert (network.path, network.layer) == ("network", "Sequential")
