"""The meaning of arguments, read from docstrings for `--help` and for the documentation."""

import inspect
import re
from typing import Any


def read_arguments(documented: Any) -> dict[str, str]:
    """Return the meaning of each argument of a function or class, from the section `Args` of its docstring.

    Args:
        documented: a function or a class.

    Example:
        >>> read_arguments(read_arguments)
        {'documented': 'a function or a class.'}
    """
    lines = inspect.getdoc(documented) or ""
    _, _, section = f"\n{lines}\n".partition("\nArgs:\n")
    meanings: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if line and not line.startswith(" "):
            break
        start = re.fullmatch(r" {4}(\w+(?:, \w+)*): (.*)", line)
        if start:
            names = start[1].split(", ")
            meanings |= dict.fromkeys(names, start[2])
        elif line.strip():
            meanings |= {name: f"{meanings[name]} {line.strip()}" for name in names}
    return meanings
