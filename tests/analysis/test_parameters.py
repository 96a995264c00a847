import jax.numpy as jnp

from research.analysis import count_parameters


def test_counts_the_elements_of_all_arrays():
    assert (
        count_parameters({"a": {"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)}, "scale": jnp.ones(())})
        == 17
    )
    assert count_parameters({}) == 0
