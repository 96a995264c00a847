"""The settings of JAX during a run: those that could change its numbers, its cache and its messages."""

import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import jax
import platformdirs
from jax._src.config import config_states  # JAX exports the context managers of only some of its settings
from jax.experimental.compilation_cache import compilation_cache
from jaxlib import utils  # pyright: ignore[reportAttributeAccessIssue] (it has no stub)

P = ParamSpec("P")
T = TypeVar("T")

PRNG_IMPL = "threefry2x32"
"""The algorithm of all random numbers of a run."""

PINNED = {
    "jax_accurate_erf_inv": False,
    "jax_allow_f16_reductions": True,
    "jax_compiler_enable_remat_pass": True,
    "jax_custom_jvp3": False,
    "jax_custom_vjp3": False,
    "jax_debug_infs": False,
    "jax_debug_key_reuse": False,
    "jax_debug_nans": False,
    "jax_default_device": None,
    "jax_default_matmul_precision": None,
    "jax_default_prng_impl": PRNG_IMPL,
    "jax_disable_jit": False,
    "jax_enable_custom_prng": False,
    "jax_enable_pgle": False,
    "jax_enable_x64": False,
    "jax_error_checking_behavior_divide": "ignore",
    "jax_error_checking_behavior_nan": "ignore",
    "jax_error_checking_behavior_oob": "ignore",
    "jax_exec_time_optimization_effort": 0.0,
    "jax_high_dynamic_range_gumbel": False,
    "jax_legacy_prng_key": "allow",
    "jax_memory_fitting_effort": 0.0,
    "jax_memory_fitting_level": "O2",
    "jax_no_execution": False,
    "jax_no_tracing": False,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_optimization_level": "UNKNOWN",
    "jax_random_seed_offset": 0,
    "jax_remat3": False,
    "jax_scan3": False,
    "jax_softmax_custom_jvp": False,
    "jax_threefry_gpu_kernel_lowering": False,
    "jax_threefry_partitionable": True,
    "jax_transfer_guard_device_to_device": "allow",
    "jax_transfer_guard_device_to_host": "allow",
    "jax_transfer_guard_host_to_device": "allow",
    "jax_use_direct_linearize": True,
    "jax_use_hlo_logistic_lowering": None,
    "jax_use_shardy_partitioner": True,
}
"""The settings that change the numbers of a run, or end it, by name. The values are the defaults of JAX.

A version of JAX may have no setting of a name; then that setting cannot change anything.
"""

CACHE_DIR, CACHE_SECONDS = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"

_lock = threading.Lock()
_num_blocks = 0


@contextmanager
def _settings(values: Mapping[str, Any]) -> Iterator[None]:
    """Set settings of JAX for this thread within a block, or within a function that this decorates."""
    with ExitStack() as stack:
        for name in values.keys() & config_states.keys():
            stack.enter_context(config_states[name](values[name]))
        yield


@contextmanager
def pinned_settings() -> Iterator[None]:
    """Use the values of `PINNED` within a block, or within a function that this decorates.

    The settings hold for the thread, so a block in one thread changes nothing in another thread. After the
    block, every setting has the value that it had before.
    """
    with _settings(PINNED):
        yield


@contextmanager
def run_settings() -> Iterator[None]:
    """Use `pinned_settings`, keep compiled programs between processes, and hide the messages about them.

    The programs are kept in the folder of the user's setting `jax_compilation_cache_dir`, or else in a folder
    that only this user can write.
    """
    with _shared_by_threads(), _settings(PINNED | _chosen_cache()):
        yield


def with_same_settings(function: Callable[P, T]) -> Callable[P, T]:
    """Return a function that another thread can call with the settings that this thread has now."""
    values = jax.config.values
    return _settings({name: values.get(name) for name in (*PINNED, CACHE_DIR, CACHE_SECONDS)})(function)


def cache_settings() -> dict[str, Any]:
    """Return the settings of JAX's cache of compiled programs, which another process then uses, too."""
    return {name: value for name, value in jax.config.values.items() if "_cache_" in f"{name}_"}


def _chosen_cache() -> dict[str, Any]:
    """Return the settings of the cache of compiled programs that the user has not chosen."""
    values: Mapping[str, Any] = jax.config.values
    chosen: dict[str, Any] = {}
    folder = _own_folder()
    if values[CACHE_DIR] in (None, str(folder)):  # Hydra may set the variable after JAX has read it
        given = os.environ.get(CACHE_DIR.upper()) or (_private(folder) and str(folder))
        chosen = {CACHE_DIR: given} if given else {}
    if values[CACHE_SECONDS] == 1 and CACHE_SECONDS.upper() not in os.environ:
        chosen[CACHE_SECONDS] = 0.0
    return chosen


def _own_folder() -> Path:
    return Path(platformdirs.user_cache_dir("cnn-research")) / "jax"


def _private(folder: Path) -> bool:
    """Make the folder, and return whether only this user can write it, because JAX executes what is in it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError:
        return False  # without a cache, every process compiles again
    if found.st_uid == os.getuid() and not found.st_mode & 0o022:
        return True
    warnings.warn(
        f"compiled programs are not kept in {folder}, which others can write; remove it, or give another "
        "folder by XDG_CACHE_HOME",
        RuntimeWarning,
        stacklevel=2,
    )
    return False


@contextmanager
def _shared_by_threads() -> Iterator[None]:
    """Set what all threads of the process share, until every block has ended.

    XLA logs no errors, unless the user asked for a level of logging. On the CPU it logs errors for each
    program that it loads from the cache: the program's key holds features ("prefer-no-gather") that are
    preferences of the compiler, and the loader looks for them in the machine. An error of the program itself
    is an exception, so it is still seen.

    At the end JAX forgets the folder of the cache if the user chose none, so that other programs of the
    process are not stored in it.
    """
    global _num_blocks
    level = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1")  # JAX sets 1 where it is not set
    is_default = level == "1" and jax.config.values["jax_logging_level"] in (None, "NOTSET")
    with _lock:
        _num_blocks += 1
        if is_default:
            utils.absl_set_min_log_level(3)
    try:
        yield
    finally:
        with _lock:
            _num_blocks -= 1
            if not _num_blocks and is_default:
                utils.absl_set_min_log_level(1)
            if not _num_blocks and jax.config.values[CACHE_DIR] is None:
                compilation_cache.reset_cache()
