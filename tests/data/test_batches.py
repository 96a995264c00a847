import jax
import numpy as np
import pytest

from research.data import epoch_order, pad_batches


@pytest.mark.parametrize("num_examples", [1, 7, 128])
def test_epoch_order_is_a_permutation_that_the_key_decides(num_examples):
    order = epoch_order(jax.random.key(0), num_examples)
    assert order.dtype == np.int32
    assert sorted(order.tolist()) == list(range(num_examples))
    assert np.array_equal(order, epoch_order(jax.random.key(0), num_examples))
    if num_examples > 7:
        assert not np.array_equal(order, epoch_order(jax.random.key(1), num_examples))


@pytest.mark.parametrize(("num_examples", "batch_size"), [(0, 3), (1, 3), (3, 3), (4, 3), (10, 1), (7, 100)])
def test_every_example_is_read_once_and_the_rest_is_masked(num_examples, batch_size):
    indices, mask = pad_batches(num_examples, batch_size)
    assert indices.shape == mask.shape == (-(-num_examples // batch_size), batch_size)
    assert indices.dtype == np.int32
    assert indices[mask].tolist() == list(range(num_examples))
    assert not indices[~mask].any()


@pytest.mark.parametrize(("num_examples", "batch_size"), [(-1, 2), (3, 0), (3, -1)])
def test_impossible_numbers(num_examples, batch_size):
    with pytest.raises(ValueError, match=f"num_examples={num_examples} .* batch_size={batch_size}"):
        pad_batches(num_examples, batch_size)
