"""Construction of frozen dataclasses from plain dicts, which are checked against their annotations.

An annotation holds the type of a value and the allowed values, such as `Annotated[int, Between(1, 4)]`.
A `Named` is the name of a function and its keyword arguments; the signature of the function says which keys
there are.
"""

import dataclasses
import inspect
import os
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from research.utils.constraints import OneOf

T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration is wrong; the message names the key, the value and what is allowed."""


@dataclass(frozen=True)
class Named:
    """The name of a function and its keyword arguments; hashable.

    Args:
        name: a name in a `Table`.
        items: pairs of a keyword and its value, sorted.

    Example:
        >>> Named("plain", (("depth", 3),)).arguments
        {'depth': 3}
    """

    name: str
    items: tuple[tuple[str, Any], ...] = ()

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for the function of that name."""
        return dict(self.items)


@dataclass(frozen=True, eq=False)
class Functions:
    """The functions that the name of a `Named` may mean.

    Args:
        functions: functions by name.
        common: a function whose keywords may be given with every name, or `None`.
    """

    functions: Mapping[str, Callable[..., Any]]
    common: Callable[..., Any] | None = None

    def parameters(self, name: str) -> dict[str, tuple[Any, Any]]:
        """Return the annotation and the default of each keyword that may be given with that name."""
        common = {} if self.common is None else keywords(self.common)
        return keywords(self.functions[name]) | common

    def named(self, name: str) -> Named:
        """Return the function of that name with the defaults of its keywords."""
        return Named(name, tuple(sorted((key, item) for key, (_, item) in self.parameters(name).items())))


def keywords(function: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """Return the annotation and the default of each argument that can only be given by keyword.

    Example:
        >>> def function(x, *, depth: int = 3): ...
        >>> keywords(function)
        {'depth': (<class 'int'>, 3)}
    """
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    return {p.name: (hints[p.name], p.default) for p in parameters if p.kind is p.KEYWORD_ONLY}


def construct(cls: type[T], values: Mapping[str, Any], key: str = "") -> T:
    """Build a frozen dataclass from a plain dict, and check every value against its annotation.

    Args:
        cls: the dataclass.
        values: values of its fields; a field that is missing takes its default.
        key: dotted name of the dataclass in its configuration, for errors.

    Raises:
        ConfigError: a key is unknown, a type is wrong or a value is impossible.

    Example:
        >>> construct(Named, {"name": "plain"})
        Named(name='plain', items=())
    """
    return _build(cls, values, key)


def to_plain(value: Any) -> Any:
    """Return the plain dict from which `construct` builds a dataclass.

    Example:
        >>> to_plain(Named("plain", (("widths", (8, 16)),)))
        {'name': 'plain', 'widths': [8, 16]}
    """
    if isinstance(value, Named):
        return {"name": value.name} | {key: to_plain(item) for key, item in value.items}
    if dataclasses.is_dataclass(value):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return [to_plain(item) for item in value] if isinstance(value, tuple) else to_builtin(value)


def to_builtin(value: Any) -> Any:
    """Return an array as a list, a scalar of NumPy as a number, a path as text, and any other value as it is.

    Example:
        >>> import numpy as np
        >>> to_builtin(np.int64(3)), to_builtin(np.array([8, 16])), to_builtin("relu")
        (3, [8, 16], 'relu')
    """
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.tolist() if hasattr(value, "tolist") else value


TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def allowed_values(hint: Any) -> str:
    """Return in words which values an annotation allows.

    Example:
        >>> from research.utils.constraints import AtLeastOne
        >>> allowed_values(Annotated[int, AtLeastOne] | None)
        'a whole number, at least 1, or null'
        >>> allowed_values(tuple[Annotated[int, AtLeastOne], ...])
        'a list; each item: a whole number, at least 1'
    """
    if _is_union(hint):
        options = typing.get_args(hint)
        return ", or ".join("null" if option is type(None) else allowed_values(option) for option in options)
    if typing.get_origin(hint) is tuple:
        return f"a list; each item: {allowed_values(typing.get_args(hint)[0])}"
    if typing.get_origin(hint) is not Annotated:
        return TYPE_NAMES.get(hint, "a mapping")
    inner, constraint = typing.get_args(hint)
    if isinstance(constraint, Functions):
        return str(OneOf(constraint.functions))
    return f"{TYPE_NAMES[inner]}, {constraint}" if inner is not str else str(constraint)


def is_writable(text: str) -> bool:
    """Return whether UTF-8 can encode a text; a command line may hold bytes that are no text.

    Example:
        >>> is_writable("größer"), is_writable("\\udcff")
        (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _build(hint: Any, value: Any, key: str) -> Any:
    """Return `value` as the type of `hint`, or raise an error that says what is allowed."""
    value = to_builtin(value)
    if typing.get_origin(hint) is Annotated:
        inner, constraint = typing.get_args(hint)
        if isinstance(constraint, Functions):
            return _build_named(constraint, value, key)
        built = _build(inner, value, key) if not _wrong_type(inner, value) else None
        if built is None or built not in constraint:
            raise _refusal(key, value, allowed_values(hint))
        return built
    if _is_union(hint):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        if value is None:
            return None
        if len(options) == 1:
            return _build(options[0], value, key)
        for option in options:
            try:
                return _build(option, value, key)
            except ConfigError:
                pass
        raise _refusal(key, value, allowed_values(hint))
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise _refusal(key, value, "a list")
        return tuple(_build(typing.get_args(hint)[0], item, key) for item in value)
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint, include_extras=True)
        items = _build_items(hints, value, key)
        for item in dataclasses.fields(hint):
            if item.name not in items and item.default is item.default_factory is dataclasses.MISSING:
                raise ConfigError(f"{key}.{item.name} is missing; {key} needs a value for {item.name}")
        return typing.cast(Any, hint)(**items)
    if _wrong_type(hint, value):
        raise _refusal(key, value, TYPE_NAMES[hint])
    if hint is str and not is_writable(value):
        raise _refusal(key, value, "a text that UTF-8 can write")
    try:
        return hint(value)
    except OverflowError:
        raise _refusal(key, value, "a smaller number") from None


def _build_named(table: Functions, value: Any, key: str) -> Named:
    if isinstance(value, str):
        if value not in table.functions:
            raise _refusal(key, value, OneOf(table.functions))
        return table.named(value)
    if not isinstance(value, Mapping):
        raise _refusal(key, value, f"{OneOf(table.functions)}, or a mapping with a name")
    name = to_builtin(value.get("name"))
    if not isinstance(name, str) or name not in table.functions:
        raise _refusal(f"{key}.name", name, OneOf(table.functions))
    hints = {item: hint for item, (hint, _) in table.parameters(name).items()}
    given = {item: given for item, given in value.items() if item != "name"}
    items = table.named(name).arguments | _build_items(hints, given, key)
    return Named(name, tuple(sorted(items.items())))


def _build_items(hints: Mapping[str, Any], values: Any, key: str) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise _refusal(key, values, f"a mapping with the keys {', '.join(hints)}")
    prefix = f"{key}." if key else ""
    for name in values:
        if name not in hints:
            raise ConfigError(f"there is no key {prefix}{name}; allowed: {', '.join(hints) or 'none'}")
    return {name: _build(hints[name], values[name], prefix + name) for name in hints if name in values}


def _is_union(hint: Any) -> bool:
    return isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union


def _wrong_type(hint: type, value: Any) -> bool:
    if hint is float:
        return isinstance(value, bool) or not isinstance(value, int | float)
    return not isinstance(value, hint) or (hint is int and isinstance(value, bool))


def _refusal(key: str, value: Any, allowed: Any) -> ConfigError:
    return ConfigError(f"{key}={'null' if value is None else value} is not allowed; give {allowed}")
