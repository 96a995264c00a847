import pytest
import yaml

from research.utils.yaml_text import read_yaml


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 1", "x: {a: 1, a: 2}", "[{a: 1}, {a: 1, 'a': 2}]"])
def test_a_key_that_stands_twice_is_refused(text):
    with pytest.raises(yaml.YAMLError, match=r"^the key a stands twice in one mapping"):
        read_yaml(text)


def test_other_yaml_is_read_as_before():
    text = "base: &base {a: 1, b: [1, {a: 2}]}\nother: {<<: *base, a: 3}\n1: one\n? [2]\n: list"
    with pytest.raises(yaml.YAMLError, match="unhashable"):
        read_yaml(text)
    text = text.partition("\n?")[0]
    assert read_yaml(text) == yaml.safe_load(text)
    with pytest.raises(yaml.YAMLError):
        read_yaml("!!python/object/apply:os.getcwd []")
