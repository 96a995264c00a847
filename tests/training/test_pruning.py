import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.layers import Dense, Flatten, Sequential
from research.models import MODELS
from research.training.average import ema
from research.training.losses import cross_entropy
from research.training.optimizers import ONLY_SCHEDULE, OPTIMIZERS, make_optimizer
from research.training.pruning import ChannelGroup, channel_groups, make_masks, make_prune
from research.training.schedules import SCHEDULES
from research.training.state import Batch, eval_params, init_state
from research.training.step import make_train_step

NET = Sequential((("flatten", Flatten()), ("hidden", Dense(6)), ("logits", Dense(10))))
FAST = ("schedule_free_adamw",)


def test_the_smallest_weights_of_all_kernels_are_pruned():
    params, _ = NET.init(jax.random.key(0), (1, 2, 2, 1))
    masks = make_masks(NET, "weight")(params, jnp.float32(0.5))
    kernels = [np.asarray(params[name]["kernel"]).ravel() for name in ("hidden", "logits")]
    kept = [np.asarray(masks[name]["kernel"]).ravel() for name in ("hidden", "logits")]
    magnitudes = np.abs(np.concatenate(kernels))
    expected = np.ones(magnitudes.size, bool)
    expected[np.argsort(magnitudes)[: magnitudes.size // 2]] = False
    np.testing.assert_array_equal(np.concatenate(kept), expected)
    assert all(masks[name]["bias"].all() for name in ("hidden", "logits"))


def test_the_channels_with_the_smallest_sums_are_pruned_with_what_reads_them():
    net = MODELS["plain"]((8, 8, 1), 10, depth=1, widths=(4,), norm="batch")
    assert list(channel_groups(net)) == [ChannelGroup("conv1", ("norm1",), "logits")]
    params, _ = net.init(jax.random.key(0), (1, 8, 8, 1))
    masks = make_masks(net, "channel")(params, jnp.float32(0.75))
    kept = np.asarray(masks["norm1"]["bias"])
    sums = np.abs(np.asarray(params["conv1"]["kernel"])).sum((0, 1, 2))
    np.testing.assert_array_equal(kept, sums == sums.max())
    np.testing.assert_array_equal(masks["conv1"]["kernel"], np.broadcast_to(kept, (3, 3, 1, 4)))
    pixels = np.asarray(masks["logits"]["kernel"]).reshape(-1, 4, 10)
    np.testing.assert_array_equal(pixels, np.broadcast_to(kept[:, None], pixels.shape))


def test_channels_that_a_shortcut_adds_are_in_no_group():
    net = MODELS["simple_resnet"]((8, 8, 1), 10, widths=(4, 8), blocks=1)
    layers = [group.layer for group in channel_groups(net)]
    assert layers == ["block1/body/conv1", "block2/body/conv1"]
    assert not list(channel_groups(MODELS["plain"]((8, 8, 1), 10, widths=(8, 8), norm="layer")))


@pytest.mark.parametrize(
    "values",
    [
        *(pytest.param({"name": n}, marks=() if n in FAST else pytest.mark.slow) for n in OPTIMIZERS),
        {"name": "momentum", "lookahead": 2, "sam": 0.05, "gradient_noise": 0.1, "l1": 0.01},
    ],
    ids=lambda values: values["name"],
)
def test_what_is_pruned_stays_zero_with_every_optimizer(values, preprocess, digits):
    schedule = SCHEDULES[ONLY_SCHEDULE.get(values["name"], "cosine")](4)
    optimizer = make_optimizer(schedule=schedule, **values)
    state = init_state(NET, optimizer, jax.random.key(0), (1, 8, 8, 1), averaged=True, pruned=True)
    step = jax.jit(make_train_step(NET, optimizer, cross_entropy, preprocess, average_weight=ema(0.5)))
    batch = Batch(jnp.asarray(digits.train.images[:16]), jnp.asarray(digits.train.labels[:16]))
    prune = make_prune(NET, amount=0.75, by="weight", from_epoch=2, until_epoch=2)
    state, _ = step(prune(state, 1), batch)
    assert all(mask.all() for mask in jax.tree.leaves(state.masks))
    before = state = prune(state, 2)
    for _ in range(2):
        state, _ = step(state, batch)
    kernels = [state.params[name]["kernel"] for name in ("hidden", "logits")]
    zeros = sum(int((kernel == 0).sum()) for kernel in kernels)
    assert zeros == round(0.75 * (64 * 6 + 6 * 10))
    for params in (state.params, eval_params(state)[0], eval_params(state._replace(average=()))[0]):
        for param, mask in zip(*map(jax.tree.leaves, (params, state.masks)), strict=True):
            np.testing.assert_array_equal(param[~mask], 0)
            assert not np.array_equal(param[mask], 0 * param[mask])
    assert not np.array_equal(before.params["logits"]["kernel"], state.params["logits"]["kernel"])
