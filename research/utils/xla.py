"""How much work XLA puts into a program."""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, TypeVar

import jax

R = TypeVar("R")

CompilerOptions = dict[str, Any] | None

# XLA:CPU's fusion emitters build kernels through MLIR: faster ones, that take up to half of the time of
# compiling; since JAX 0.11 it has no others
_WITHOUT_EMITTERS = {"xla_cpu_use_fusion_emitters": False} if jax.__version_info__ < (0, 11) else {}


def at_level(level: int | None, *, use_fusion_emitters: bool = True) -> CompilerOptions:
    """Options for a level of optimization, 0 to 3; ``None`` leaves it to XLA, which takes 3.

    Level 0 goes without XLA:CPU's fusion emitters. A program that is to go without them at another level is
    of level 3, below which its loops are hardly vectorized. Since JAX 0.11 none can, and ``level`` holds.
    """
    without = {} if use_fusion_emitters and level != 0 else _WITHOUT_EMITTERS
    if without and level != 0:
        level = 3
    return None if level is None else {"xla_backend_optimization_level": level} | without


def for_one_call() -> CompilerOptions:
    """Options of a program that runs once, or little: on the CPU level 0, else XLA's own."""
    return at_level(0 if jax.default_backend() == "cpu" else None)


def for_few_calls() -> CompilerOptions:
    """Options of a program that is called a few times, or takes a small share of a run.

    On the CPU level 1, at which XLA compiles two to four times as fast.
    """
    return at_level(1 if jax.default_backend() == "cpu" else None)


def jit_for_one_call(function: Callable[..., R], **options: Any) -> Callable[..., R]:
    """``jax.jit`` with `for_one_call`, which starts JAX: so it is asked at the first call, not on import."""
    compiled = cache(lambda: jax.jit(function, compiler_options=for_one_call(), **options))

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> R:
        return compiled()(*args, **kwargs)

    return call
