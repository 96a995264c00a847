import pytest

from research.utils.files import seal, unseal

VALUES = {"status": "completed", "loss": 2.5e-05, "name": "größer", "files": {"b": 1, "a": [None, True]}}


def test_what_is_sealed_is_read_as_it_was_written():
    assert unseal(seal(VALUES)) == VALUES
    assert list(unseal(seal(VALUES))["files"]) == ["b", "a"]


def test_every_flipped_bit_is_noticed_even_where_the_values_stay_the_same():
    content = seal(VALUES).encode()
    read = []
    for index in range(len(content)):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[index] ^= 1 << bit
            try:
                read.append(unseal(flipped.decode()))
            except ValueError:
                continue
    assert read == []


@pytest.mark.parametrize("length", range(0, len(seal(VALUES)), 7))
def test_what_was_cut_off_is_noticed(length):
    with pytest.raises(ValueError):
        unseal(seal(VALUES)[:length])
