"""The small network and the digits of the tests of training."""

from tests.training.conftest import assert_same, digits, net, preprocess

__all__ = ["assert_same", "digits", "net", "preprocess"]
