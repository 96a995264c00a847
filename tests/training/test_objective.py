import jax.numpy as jnp
import numpy as np
import pytest

from research.training.losses import cross_entropy
from research.training.objective import is_correct

LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 0.0, 3.0]])
LABELS = np.array([0, 1])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_equals_the_formula(smoothing):
    log_p = LOGITS - np.log(np.exp(LOGITS).sum(-1, keepdims=True))
    targets = (1 - smoothing) * np.eye(3)[LABELS] + smoothing / 3
    losses = cross_entropy(jnp.float32(LOGITS), jnp.asarray(LABELS), label_smoothing=smoothing)
    np.testing.assert_allclose(losses, -(targets * log_p).sum(-1), rtol=1e-6)


def test_large_logits_stay_finite():
    losses = cross_entropy(jnp.array([[1e4, 0.0]]), jnp.array([1]))
    np.testing.assert_allclose(losses, [1e4])


def test_is_correct():
    np.testing.assert_array_equal(is_correct(jnp.float32(LOGITS), jnp.asarray(LABELS)), [True, False])
