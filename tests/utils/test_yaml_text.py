import pytest
import yaml

from research.utils.yaml_text import read_yaml, read_yaml_sections


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


@pytest.mark.parametrize(
    "text",
    [
        *(
            "# comment\na: 1\nb:\n  c: [2]\n'd': 3\n",
            "---\na: |\n  x\n\n  y\n\nb: 2",
            "a:\nb: {c: 1,\nd: 2}\n",
        ),
        *("a: 1\na: 2", "a: 1\n'b': 2\nc: 3\n'b': 4", "a: &x [1]\nb: *x", "a: 1\n---\nb: 2", 'a: "x\nb: c"'),
        *("", "# comment\n", "- a\n- b", "a", "a: b\nc", "a: [1"),
    ],
)
def test_reading_by_sections_changes_nothing(text):
    def read(function):
        try:
            return function(text)
        except yaml.YAMLError as error:
            return str(error)

    assert read(read_yaml_sections) == read(read_yaml)


def test_documents_with_equal_sections_share_no_values():
    first, second = (read_yaml_sections(f"seed: {seed}\nmodel:\n  widths: [8]") for seed in (1, 2))
    first["model"]["widths"][0] = 9
    assert second == {"seed": 2, "model": {"widths": [8]}}
