"""Time of one training step as a function of the number of devices that share it.

This is weak scaling: each device has a batch of its own, so on a perfect machine a step of many devices takes
as long as a step of one.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Annotated, Any, NamedTuple

import jax

from research.benchmarks.processes import Processes, Work
from research.benchmarks.timing import alternate, quartiles, take_turns
from research.benchmarks.train import start_program
from research.config import Config, ConfigError, ParallelConfig
from research.parallel import STRATEGIES, request_cpu_devices
from research.parallel.distributed import join, silence
from research.parallel.hlo import collectives
from research.utils.constraints import AtLeastOne, Between, OneOf


@dataclass(frozen=True)
class ScalingConfig:
    """What to time and how.

    Args:
        processes: number of processes on this machine, each bound to a core.
        strategies: strategies that are timed side by side, over as many CPU devices of one process.
        rounds: number of timings of each, in turn.
        steps: number of training steps in one timing.
    """

    processes: Annotated[int, Between(2)] = 2
    strategies: tuple[Annotated[str, OneOf(STRATEGIES)], ...] = tuple(STRATEGIES)
    rounds: Annotated[int, Between(2)] = 7
    steps: Annotated[int, AtLeastOne] = 10


class Exchange(NamedTuple):
    """What the devices exchange in one step."""

    all_reduces: int
    all_reduce_bytes: int
    others: int  # collectives of another kind


def make_steps(config: Config, num_steps: int) -> tuple[Work, Exchange]:
    """Compile training steps on random images, as `scripts/train.py` runs them.

    Args:
        config: network, strategy and global batch size.
        num_steps: number of steps in one call.

    Returns:
        The piece of work, and what the devices exchange in one step of it.
    """
    program, (state,), examples = start_program(config, num_steps)

    def work() -> Any:
        nonlocal state
        state, metrics, *_ = program.run_steps(state, examples, 0, num_steps)
        return metrics

    assert program.executable is not None
    found = [exchange for exchange in collectives(program.executable.as_text() or "") if exchange.in_loop]
    sums = [exchange.num_bytes for exchange in found if exchange.kind == "all-reduce"]
    return work, Exchange(len(sums), sum(sums), len(found) - len(sums))


def with_strategy(config: Config, name: str, num_shards: int, num_devices: int | None = None) -> Config:
    """Return `config`, whose batch is that of one device, for `num_shards` devices and a strategy."""
    training = replace(config.training, batch_size=config.training.batch_size * num_shards)
    parallel = ParallelConfig(name, None if name == "single" else num_devices)
    return replace(config, training=training, parallel=parallel)


def prepare(configs: Mapping[str, Config], num_steps: int, num_devices: int) -> Any:
    """Return the pieces of work of one process by name, and what its devices exchange."""
    request_cpu_devices(num_devices)
    made = {name: make_steps(config, num_steps) for name, config in configs.items()}
    return {name: work for name, (work, _) in made.items()}, {
        name: facts for name, (_, facts) in made.items()
    }


def benchmark_scaling(config: Config, scaling: ScalingConfig) -> dict[str, Any]:
    """Time one process and several, each on a core of its own, and the strategies within one process.

    Args:
        config: network, strategy of the several processes, and the batch size of one process.
        scaling: what to time.

    Returns:
        `weak_efficiency`, the time of one process divided by the time of all, median over the rounds;
        `exchange_efficiency`, the same with the time of all processes at once that exchange nothing, so that
        what the processor itself loses when all of its cores work is not counted;
        `all_reduces` and `all_reduce_bytes` in a step of all processes; `ms` per step (`median`, `lower`
        and `upper` quartile) of `one` process, of all processes `apart`, and of `all` together; `strategies`,
        the same numbers for each strategy
        over simulated devices; `real` and `simulated`, which devices were real and which simulated.

    Raises:
        ConfigError: there are fewer cores than processes.
    """
    count, strategy, batch_size = scaling.processes, config.parallel.name, config.training.batch_size
    if strategy in ("single", "pmap"):
        raise ConfigError(f"parallel={strategy} is not for several processes; give parallel=jit or shard_map")
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    if cores is not None and count > len(cores):
        raise ConfigError(
            f"processes={count} is not allowed; give at most {len(cores)}, the number of cores, because each "
            "process has a core of its own"
        )
    one = {"one": with_strategy(config, "single", 1)}
    together = {"apart": one["one"], "all": with_strategy(config, strategy, count)}
    within = {name: with_strategy(config, name, count, count) for name in scaling.strategies}
    with (
        Processes(prepare, (one, scaling.steps, 1), cores=cores and cores[:1]) as alone,
        Processes(prepare, (together, scaling.steps, 1), count, cores=cores and cores[:count]) as several,
    ):
        works = {"one": partial(alone.time, "one")} | {name: partial(several.time, name) for name in together}
        seconds = take_turns(works, scaling.rounds)
        exchange = several.facts["all"]
    with Processes(prepare, (within, scaling.steps, count)) as devices:
        seconds |= take_turns({name: partial(devices.time, name) for name in within}, scaling.rounds)
        exchanges = devices.facts
    ms = _ms(seconds, scaling.steps)
    return {
        **_summary(seconds["one"], seconds["all"], exchange),
        "exchange_efficiency": _efficiency(seconds["apart"], seconds["all"]),
        "strategy": strategy,
        "num_processes": count,
        "batch_size_per_process": batch_size,
        "ms": {name: ms[name] for name in works},
        "strategies": {name: {"ms": ms[name], **exchanges[name]._asdict()} for name in within},
        "real": f"{count} processes on this machine{', one core each' if cores else ''}, gloo over 127.0.0.1",
        "simulated": f"under strategies: {count} CPU devices of one process, sharing its cores",
    }


def benchmark_cluster(config: Config, scaling: ScalingConfig) -> tuple[dict[str, Any], bool]:
    """Time each device alone and then all, on the machines that this process and the others have joined.

    Returns:
        The dict of `benchmark_scaling` with no simulated device, and whether this process prints it.
    """
    asked = config.distributed
    silence("/dev/stderr")  # gloo prints on standard output that it is connected
    join(asked.coordinator, asked.num_processes, asked.process_id, asked.timeout)
    request_cpu_devices(1)
    config = replace(config, distributed=type(asked)())
    count = jax.device_count()
    names = [name for name in scaling.strategies if name not in ("single", "pmap")]
    configs = {"one": with_strategy(config, "single", 1)}
    configs |= {name: with_strategy(config, name, count) for name in names}
    made = {name: make_steps(each, scaling.steps) for name, each in configs.items()}
    seconds = alternate({name: work for name, (work, _) in made.items()}, scaling.rounds)
    ms = _ms(seconds, scaling.steps)
    results = {name: _summary(seconds["one"], seconds[name], made[name][1]) for name in names}
    best = max(results, key=lambda name: results[name]["weak_efficiency"])
    kind = f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}"
    result = {
        **results[best],
        "exchange_efficiency": results[best]["weak_efficiency"],  # "one" is measured on all devices at once
        "strategy": best,
        "num_processes": jax.process_count(),
        "batch_size_per_device": config.training.batch_size,
        "ms": {"one": ms["one"], "all": ms[best]},
        "strategies": {name: {"ms": ms[name], **results[name]} for name in names},
        "real": f"{count} devices ({kind}) of {jax.process_count()} processes",
        "simulated": "nothing",
    }
    return result, jax.process_index() == 0


def _ms(seconds: Mapping[str, list[float]], num_steps: int) -> dict[str, dict[str, float]]:
    return {
        name: quartiles([1e3 * value / num_steps for value in values])._asdict()
        for name, values in seconds.items()
    }


def _summary(one: list[float], all_of_them: list[float], exchange: Exchange) -> dict[str, Any]:
    return {"weak_efficiency": _efficiency(one, all_of_them), **exchange._asdict()}


def _efficiency(without: list[float], together: list[float]) -> float:
    """Return the median over the rounds of the time without an exchange over that with one."""
    return median(one / other for one, other in zip(without, together, strict=True))
