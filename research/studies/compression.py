"""What each way of compression costs: accuracy, size and time of one network, for several seeds."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, NamedTuple

from matplotlib.ticker import LogLocator, NullFormatter
from rich.console import Console

from research.config import Config, ConfigError
from research.deploy.compress import compress
from research.deploy.ensemble import load_ensemble
from research.records import is_finished
from research.runs.build import check
from research.studies.figures.style import COLOURS, MARKERS, canvas, save
from research.studies.statistics import Contrast, compare, summarize
from research.sweeps.sweep import run_sweep
from research.utils.constraints import AtLeastOne
from research.utils.files import write_atomically

NUM_MEMBERS = 5
"""The number of runs of an ensemble."""

PRUNED = (0.5, 0.8, 0.9, 0.95)
"""The shares of channels that are pruned."""

REFERENCE = "float32"


@dataclass(frozen=True)
class CompressionConfig:
    """The keys of the comparison.

    Args:
        seeds: number of seeds; with 9 seeds, each of the 10 comparisons with float32 can be decided.
        out: folder of the runs, the files, the table and the figure; the next call continues in it.
    """

    seeds: Annotated[int, AtLeastOne] = 9
    out: str = "multirun/compression"


class Arm(NamedTuple):
    """One way of compression.

    Args:
        form: the form of the numbers in the file, a name in `deploy.compress.FORMS`.
        runs: the names of the runs whose probabilities are averaged; a single run is no ensemble.
    """

    form: str
    runs: tuple[str, ...]


MEMBERS = tuple(f"member {number}" for number in range(1, NUM_MEMBERS + 1))
ARMS = {
    REFERENCE: Arm("float32", ("large",)),
    "bfloat16": Arm("bfloat16", ("large",)),
    "int8 weights": Arm("int8_weights", ("large",)),
    "int8": Arm("int8", ("large",)),
    **{f"pruned {amount:.0%}": Arm("float32", (f"pruned {amount:.0%}",)) for amount in PRUNED},
    "distilled": Arm("float32", ("distilled",)),
    "small": Arm("float32", ("small",)),
    f"ensemble of {NUM_MEMBERS} small": Arm("float32", MEMBERS),
}
"""The arms by name."""


def first_runs(base: Config, seed: int) -> dict[str, Config]:
    """Return the runs of a seed that start from new parameters, by name.

    The members of an ensemble have seeds of their own, so that no two ensembles share a run.
    """
    seeds = {name: 1000 * (seed + 1) + number for number, name in enumerate(MEMBERS)}
    small = {name: _with(base, seed=each, model={"name": "tiny"}) for name, each in seeds.items()}
    return {"large": _with(base, seed=seed), "small": _with(base, seed=seed, model={"name": "tiny"})} | small


def second_runs(base: Config, seed: int, large: Path) -> dict[str, Config]:
    """Return the runs of a seed that start or learn from its large network, by name.

    Args:
        base: the configuration that all runs share.
        seed: the seed.
        large: the folder of the run of the large network.
    """
    found = {}
    for amount in PRUNED:
        training = base.to_dict()["training"] | {"prune": {"amount": amount, "by": "channel"}}
        start = {"run": str(large)}
        found[f"pruned {amount:.0%}"] = _with(base, seed=seed, init_from=start, training=training)
    loss = {"name": "distillation", "teacher": str(large)}
    return found | {"distilled": _with(base, seed=seed, model={"name": "tiny"}, loss=loss)}


def run_compression(
    config: CompressionConfig, base: Config, console: Console | None = None, *, worker: bool = True
) -> Path:
    """Train the networks, compress them, and write a table and a figure.

    Runs and files that the folder already holds are not computed again.

    Args:
        config: the keys of the comparison.
        base: the configuration of the large network.
        console: where a line for each run is printed; `None` is the standard output.
        worker: train in a worker process.

    Returns:
        The path of the table, beside which are the figure and `compression.json`.

    Raises:
        ConfigError: the configuration does not fit the data, or a run did not complete.
    """
    out, console = Path(config.out), console or Console(highlight=False, soft_wrap=True)
    check(base)
    folders: dict[int, dict[str, Path]] = {seed: {} for seed in range(config.seeds)}
    makers: tuple[Callable[[int], dict[str, Config]], ...] = (
        partial(first_runs, base),
        lambda seed: second_runs(base, seed, folders[seed]["large"]),
    )
    for make in makers:
        runs: dict[Path, Config] = {}
        for seed, of_seed in folders.items():
            for name, each in make(seed).items():
                of_seed[name] = out / "runs" / f"{name.replace(' ', '-')}_{each.run_name()}"
                runs[of_seed[name]] = each
        if run_sweep(runs, worker=worker, console=console) >= 128:
            raise KeyboardInterrupt(f"the comparison stopped; run it again with out={out} to go on")
        if missing := [path for path in runs if not is_finished(path, ("completed",))]:
            raise ConfigError(f"{missing[0]} did not complete, so the arms cannot be compared")
    costs: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in ARMS}
    for seed, of_seed in folders.items():
        for name, arm in ARMS.items():
            costs[name][seed] = cost = _cost(arm, of_seed, out / "files" / f"{name}_seed-{seed}")
            console.print(f"{name}, seed {seed}: test accuracy {cost['accuracy']:.4f}", markup=False)
    return write_comparison(costs, out)


def _cost(arm: Arm, folders: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Return the cost of the file of an arm. The file is written if its report does not exist yet."""
    report = out / f"model_{arm.form}.onnx.check.json"
    if not report.exists():
        paths = [folders[name] for name in arm.runs]
        compress(load_ensemble(paths), paths[0], arm.form, out=out)
    return json.loads(report.read_text(encoding="utf-8"))["after"]


def write_comparison(costs: Mapping[str, Mapping[int, dict[str, Any]]], out: Path) -> Path:
    """Write the table, the figure and the numbers of a comparison, and return the path of the table.

    Args:
        costs: the fields of `deploy.compress.Cost` by arm and seed.
        out: the folder.
    """
    reference = costs[REFERENCE]
    differences = {
        name: [100 * (cost["accuracy"] - reference[seed]["accuracy"]) for seed, cost in each.items()]
        for name, each in costs.items()
        if name != REFERENCE
    }
    contrasts = compare(differences)
    sizes = list(next(iter(reference.values()))["milliseconds"])
    header = ["network", "test accuracy %", "difference", "claim", "MB", *(f"ms for {n}" for n in sizes)]
    lines = [header, ["---"] * len(header)]
    for name, each in costs.items():
        accuracy = summarize([100 * cost["accuracy"] for cost in each.values()])
        times = [f"{_mean(each, n):.3f}" for n in sizes]
        megabytes = f"{fmean(cost['bytes'] for cost in each.values()) / 1e6:.3f}"
        said = _describe(contrasts.get(name))
        lines.append([name, f"{accuracy.mean:.2f} ± {accuracy.deviation:.2f}", *said, megabytes, *times])
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "compression.json", json.dumps(costs, indent=2).encode())
    with canvas(1, 2, (9, 4)) as (figure, axes):
        for index, (name, each) in enumerate(costs.items()):
            points = {
                "milliseconds for 64 images": _mean(each, "64"),
                "MB": fmean(cost["bytes"] for cost in each.values()) / 1e6,
            }
            accuracy = 100 * fmean(cost["accuracy"] for cost in each.values())
            for axis, (what, value) in zip(axes[0], points.items(), strict=True):
                turn = index // len(MARKERS)  # the markers repeat in other colours
                colour, marker = COLOURS[(index + turn) % len(COLOURS)], MARKERS[index % len(MARKERS)]
                axis.plot(value, accuracy, marker, color=colour, label=name)
                axis.set(xscale="log", xlabel=what, ylabel="test accuracy (%)")
                axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axis.xaxis.set_major_formatter("{x:g}")
                axis.xaxis.set_minor_formatter(NullFormatter())
        axes[0][1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
        save(figure, out / "compression")
    table = out / "compression.md"
    write_atomically(table, f"# Compression\n\n{text}\n\n![Accuracy](compression.png)\n".encode())
    return table


def _mean(costs: Mapping[int, dict[str, Any]], batch_size: str) -> float:
    return fmean(cost["milliseconds"][batch_size] for cost in costs.values())


def _describe(contrast: Contrast | None) -> tuple[str, str]:
    if contrast is None:
        return "", "reference"
    difference = contrast.difference
    return f"{difference.mean:+.2f} [{difference.low:.2f}, {difference.high:.2f}]", contrast.verdict


def _with(base: Config, **changes: Any) -> Config:
    return Config.from_dict(base.to_dict() | changes)
