import pytest

from research.utils.lookup import lookup


def test_lookup_returns_the_value():
    assert lookup({"a": 1}, "a", "letter") == 1


def test_an_unknown_name_lists_the_valid_ones():
    with pytest.raises(ValueError, match=r"unknown letter 'c'; allowed: a, b"):
        lookup({"b": 2, "a": 1}, "c", "letter")
