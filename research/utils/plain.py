"""Python values for the values of NumPy and JAX."""

from typing import Any


def plain(value: Any) -> Any:
    """Return `value` with tuples for lists and arrays, and numbers of Python for those of NumPy and JAX.

    The result is hashable if the items are, so a layer may hold it and a compiled function may depend on it.

    Example:
        >>> import numpy as np
        >>> plain([np.int64(3), [1, 2]]), plain(np.array([3, 3]))
        ((3, (1, 2)), (3, 3))
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    return tuple(map(plain, value)) if isinstance(value, list | tuple) else value
