"""Options for how much XLA optimises a program."""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, TypeVar

import jax

R = TypeVar("R")

CompilerOptions = dict[str, Any] | None
"""Options for `jax.jit`; `None` leaves everything to XLA."""

# XLA's fusion emitters on the CPU build kernels through MLIR. The kernels are faster, but building them takes
# up to half of the time of compiling. Since JAX 0.11 XLA has no other way to build kernels.
_WITHOUT_EMITTERS = {"xla_cpu_use_fusion_emitters": False} if jax.__version_info__ < (0, 11) else {}


def at_level(level: int | None, *, use_fusion_emitters: bool = True) -> CompilerOptions:
    """Return the options for a level of optimization.

    Args:
        level: the level, from 0 to 3. `None` leaves the level to XLA, which takes 3.
        use_fusion_emitters: whether XLA uses its fusion emitters on the CPU. Level 0 never uses them. Without
            them, every other level becomes 3, since at a lower level XLA hardly vectorizes loops. Since JAX
            0.11 XLA always uses them, and this argument has no effect.
    """
    without = {} if use_fusion_emitters and level != 0 else _WITHOUT_EMITTERS
    if without and level != 0:
        level = 3
    return None if level is None else {"xla_backend_optimization_level": level} | without


def for_one_call() -> CompilerOptions:
    """Return the options of a program that runs once: level 0 on the CPU, and those of XLA elsewhere."""
    return at_level(0 if jax.default_backend() == "cpu" else None)


def for_few_calls() -> CompilerOptions:
    """Return the options of a program that is called a few times, or that takes a small part of a run.

    On the CPU they are those of level 1, at which XLA compiles two to four times as fast. Elsewhere they are
    those of XLA.
    """
    return at_level(1 if jax.default_backend() == "cpu" else None)


def jit_for_one_call(function: Callable[..., R], **options: Any) -> Callable[..., R]:
    """Return `jax.jit(function)` with the options `for_one_call`.

    The options depend on the backend of JAX, and asking for the backend starts the backend. The returned
    function asks for the backend at its first call, so importing a module starts no backend.

    Args:
        function: the function to compile.
        **options: further options of `jax.jit`.
    """
    compiled = cache(lambda: jax.jit(function, compiler_options=for_one_call(), **options))

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> R:
        return compiled()(*args, **kwargs)

    return call
