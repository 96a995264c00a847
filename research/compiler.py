"""How much work XLA puts into a program."""

from typing import Any

import jax

CompilerOptions = dict[str, Any] | None


def at_level(level: int | None) -> CompilerOptions:
    """Options for a level of optimization, 0 to 3; ``None`` leaves it to XLA, which takes 3."""
    return None if level is None else {"xla_backend_optimization_level": level}


def for_few_calls() -> CompilerOptions:
    """Options of a program that is called a few times, or takes a small share of a run.

    On the CPU level 1, at which XLA compiles two to four times as fast: a second less for each
    ``jax.random.normal``.
    """
    return at_level(1 if jax.default_backend() == "cpu" else None)
