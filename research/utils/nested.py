"""Nested dicts with text keys, and the same as flat dicts with dotted keys."""

from collections.abc import Iterable, Mapping
from typing import Any


def dotted_keys(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a flat dict with dotted keys from a nested dict.

    Args:
        values: the nested dict.
        prefix: text that every key of the result starts with.

    Raises:
        ValueError: a key is given twice, once dotted and once nested.

    Example:
        >>> dotted_keys({"seed": 0, "model": {"depth": 2}})
        {'seed': 0, 'model.depth': 2}
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        is_section = isinstance(value, Mapping)
        inner = dotted_keys(value, f"{prefix}{key}.") if is_section else {f"{prefix}{key}": value}
        for dotted in inner:
            if dotted in flat:
                raise ValueError(f"{dotted} is given twice; give it once")
        flat |= inner
    return flat


def is_below(key: str, sections: Iterable[str]) -> bool:
    """Return whether a dotted key is one of some keys or lies below one of them.

    Example:
        >>> is_below("model.depth", ["model"]), is_below("modeling", ["model"])
        (True, False)
    """
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def nested(values: Mapping[str, Any], separator: str = ".") -> dict[str, Any]:
    """Return a nested dict from a flat dict with dotted keys; the inverse of `dotted_keys`.

    Args:
        values: the flat dict.
        separator: text between two names of a key; the paths of parameters have `/`.

    Raises:
        ValueError: one key is both a value and the section of another key.

    Example:
        >>> nested({"seed": 0, "model.depth": 2})
        {'seed': 0, 'model': {'depth': 2}}
        >>> nested({"block1/conv1/kernel": 1, "logits/bias": 2}, "/")
        {'block1': {'conv1': {'kernel': 1}}, 'logits': {'bias': 2}}
    """
    tree: dict[str, Any] = {}
    for dotted, value in values.items():
        *sections, last = dotted.split(separator)
        inner = tree
        for section in sections:
            inner = inner.setdefault(section, {})
            if not isinstance(inner, dict):
                raise ValueError(f"{dotted} is not allowed beside {section}, which is a value and no section")
        if isinstance(inner.get(last), dict):
            raise ValueError(
                f"{dotted} is not allowed as a value beside keys that start with {dotted}{separator}"
            )
        inner[last] = value
    return tree
