"""A reader for YAML that refuses a key that a mapping holds twice, where PyYAML takes the last one."""

import re
from functools import lru_cache
from typing import Any

import yaml

SECTION_START = re.compile("^(?=[a-z])", re.MULTILINE)


def read_yaml(text: str) -> Any:
    """Return the plain values of a YAML document.

    Raises:
        yaml.YAMLError: the text is no YAML, or a mapping in it holds a key twice.

    Example:
        >>> read_yaml("seed: 1")
        {'seed': 1}
        >>> read_yaml("{seed: 1, seed: 2}")
        Traceback (most recent call last):
        ...
        yaml.constructor.ConstructorError: the key seed stands twice in one mapping
          in "<unicode string>", line 1, column 11:
            {seed: 1, seed: 2}
                      ^
    """
    try:
        return _FastLoader(text).get_single_data()
    except yaml.YAMLError:
        return _Loader(text).get_single_data()  # its error shows the place in the text


def read_yaml_sections(text: str) -> Any:
    """Return the plain values of a YAML document as `read_yaml` does, but parse sections of equal text once.

    This is fast for the configurations of a sweep, which are equal but for a few lines.

    Raises:
        yaml.YAMLError: the text is no YAML, or a mapping in it holds a key twice.

    Example:
        >>> read_yaml_sections("seed: 1\\nmodel:\\n  depth: 3")
        {'seed': 1, 'model': {'depth': 3}}
    """
    try:
        sections = [_read_section(section) for section in SECTION_START.split(text)]
    except yaml.YAMLError:  # also if a section refers to another one
        return read_yaml(text)
    values = {key: _copy(value) for section in sections for key, value in section.items()}
    is_whole = values and len(values) == sum(map(len, sections))
    return values if is_whole else read_yaml(text)


@lru_cache(maxsize=256)
def _read_section(text: str) -> dict[Any, Any]:
    values = _FastLoader(text).get_single_data()
    if not isinstance(values, dict | None):
        raise yaml.YAMLError("it is no part of a mapping")
    return values or {}


def _copy(value: Any) -> Any:
    """Return a copy of plain values; `copy.deepcopy` takes ten times as long."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def write_yaml(values: Any) -> str:
    """Return plain values as a YAML document, whose mappings keep their order.

    Example:
        >>> write_yaml({"seed": 1})
        'seed: 1\\n'
    """
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml is ten times as fast


class _Unique:
    """A constructor that refuses a key that stands twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set[str]()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    problem = f"the key {key.value} stands twice in one mapping"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)  # pyright: ignore[reportAttributeAccessIssue]


class _Loader(_Unique, yaml.SafeLoader):
    pass


_CLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _UniqueFast(_Unique, _CLoader):
    pass


_FastLoader: Any = _UniqueFast
