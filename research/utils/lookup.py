"""Look-up of a name in a table, with one form of error."""

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def lookup(table: Mapping[str, T], name: str, what: str) -> T:
    """Return `table[name]`.

    Args:
        table: the allowed names, each with its value.
        name: the name to look up.
        what: the kind of thing that the table holds, such as "activation". The error begins with it.

    Raises:
        ValueError: `name` is not in the table. The message lists the allowed names.

    Example:
        >>> lookup({"one": 1, "two": 2}, "one", "number")
        1
    """
    if name not in table:
        raise ValueError(f"unknown {what} {name!r}; allowed: {', '.join(sorted(table))}")
    return table[name]
