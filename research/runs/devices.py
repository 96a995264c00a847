"""The strategy and the devices of a configuration."""

import re

import jax

from research.config import Config, ConfigError
from research.parallel import Layout, count_cpu_devices, default_strategy


def check_parallel(config: Config) -> None:
    """Refuse options of the strategy that exclude each other, without starting JAX.

    Raises:
        ConfigError: two options exclude each other.
    """
    parallel, mesh, num_runs = config.parallel, config.parallel.mesh, config.training.runs_per_program
    check_distributed(config)
    num_devices = parallel.num_devices or mesh.run * (mesh.data or 1) * mesh.model
    if parallel.name == "single" and num_devices != 1:
        raise ConfigError(
            "parallel=single is not allowed with several devices; give parallel=jit, shard_map or pmap"
        )
    if mesh.model > 1 and parallel.name not in ("jit", "auto"):
        raise ConfigError(
            f"parallel.mesh.model={mesh.model} is not allowed with parallel={parallel.name}; "
            "give 1, or parallel=jit"
        )
    if parallel.batch_norm == "local" and parallel.name in ("jit", "single"):
        raise ConfigError(
            f"parallel.batch_norm=local is not allowed with parallel={parallel.name}, which sees the whole "
            "batch; give parallel=shard_map or pmap"
        )
    if num_runs % mesh.run:
        raise ConfigError(
            f"training.runs_per_program={num_runs} is not allowed over parallel.mesh.run={mesh.run}; "
            f"give a multiple of {mesh.run}"
        )
    if num_runs > 1 and parallel.name == "pmap":
        raise ConfigError(
            f"parallel=pmap is not allowed with training.runs_per_program={num_runs}; "
            "give parallel=jit or shard_map"
        )
    if num_runs > 1 and config.training.window is not None:
        raise ConfigError(
            f"training.window={config.training.window} is not allowed with "
            f"training.runs_per_program={num_runs}, which share the whole training split; "
            "give training.window=null"
        )


def check_distributed(config: Config) -> None:
    """Refuse wrong settings for several processes, without starting JAX.

    Raises:
        ConfigError: a key is missing or wrong, or the strategy is not for several processes.
    """
    asked, strategy, count = config.distributed, config.parallel.name, config.distributed.num_processes
    by_hand = ("coordinator", "num_processes", "process_id")
    given = [key for key in by_hand if getattr(asked, key) is not None]
    if asked.mode == "auto" and given:
        raise ConfigError(f"distributed.{given[0]} is not allowed with distributed.mode=auto; leave it out")
    if given and len(given) < len(by_hand):
        missing = " and ".join(f"distributed.{key}" for key in by_hand if key not in given)
        raise ConfigError(f"{missing} is missing; give all of {', '.join(by_hand)}")
    if count is not None and asked.process_id is not None and asked.process_id >= count:
        raise ConfigError(
            f"distributed.process_id={asked.process_id} is not allowed; "
            f"give a whole number, from 0 to {count - 1}"
        )
    if asked.coordinator is not None and not re.fullmatch(r".+:\d+", asked.coordinator):
        raise ConfigError(
            f"distributed.coordinator={asked.coordinator} is not allowed; give host:port of process 0"
        )
    if asked.is_on and strategy in ("single", "pmap") and count != 1:
        raise ConfigError(
            f"parallel={strategy} is not allowed with several processes; give parallel=jit or shard_map"
        )


def num_cpu_devices(config: Config) -> int:
    """Return the number of CPU devices that JAX should make for a configuration."""
    parallel, mesh = config.parallel, config.parallel.mesh
    sizes = (mesh.run, mesh.data, mesh.model)
    if parallel.name == "single":
        return 1
    if parallel.name == "auto" and parallel.num_devices is None and mesh.data is None:
        sizes = (mesh.run, 1, mesh.model)
    return count_cpu_devices(parallel.num_devices, sizes)


def build_layout(config: Config) -> tuple[str, Layout]:
    """Return the name of the strategy and the devices of a configuration. This starts JAX.

    Raises:
        ConfigError: there are too few devices, or the batch cannot be split equally over them.
    """
    check_parallel(config)
    parallel, mesh, batch_size = config.parallel, config.parallel.mesh, config.training.batch_size
    num_devices = 1 if parallel.name == "single" else parallel.num_devices
    if parallel.name == "auto" and num_devices is None and mesh.data is None:
        # several devices on one CPU are not reliably faster than one, so they are made on request only
        others = mesh.run * mesh.model
        alone_on_cpu = jax.default_backend() == "cpu" and jax.process_count() == 1
        available = others if alone_on_cpu else jax.device_count()
        shards = range(max(available // others, 1), 0, -1)
        num_devices = others * next(n for n in shards if batch_size % n == 0)
    try:
        devices = jax.local_devices() if parallel.name == "single" else None
        layout = Layout.of(num_devices, run=mesh.run, data=mesh.data, model=mesh.model, devices=devices)
    except ValueError as error:
        raise ConfigError(f"parallel.{error}") from error
    if jax.process_count() > 1 and devices is None and layout.mesh.size != jax.device_count():
        raise ConfigError(
            f"parallel over {layout.mesh.size} devices is not allowed; the {jax.process_count()} processes "
            f"have {jax.device_count()}, and all must take part"
        )
    shards, parts = layout.num_shards, config.training.accumulate or 1
    if batch_size % (shards * parts):
        size = shards * parts
        lower, upper = batch_size // size * size, -(-batch_size // size) * size
        over = " in ".join(
            f"{count} {what}" for count, what in ((shards, "devices"), (parts, "parts")) if count > 1
        )
        raise ConfigError(
            f"training.batch_size={batch_size} is not allowed over {over}; "
            f"give a multiple of {size}, such as {f'{lower} or {upper}' if lower else upper}"
        )
    if parallel.name != "auto":
        return parallel.name, layout
    strategy = default_strategy(layout.mesh.size, mesh.model, jax.default_backend())
    if parallel.batch_norm == "local" and strategy == "jit":
        raise ConfigError(
            "parallel.batch_norm=local is not allowed with parallel=auto, which takes jit here and sees the "
            "whole batch; give parallel=shard_map"
        )
    return strategy, layout
