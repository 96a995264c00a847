"""The comparison of the frameworks: first that they compute the same, then what it costs them."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from research.data import load_dataset
from research.frameworks.base import FRAMEWORKS, OPTIMIZERS
from research.frameworks.parity import GRADIENT_TOLERANCE, LOSS_TOLERANCE, NUM_STARTS, NUM_STEPS
from research.frameworks.process import Workplace, check_threads
from research.utils.files import write_atomically
from research.utils.lookup import lookup

SMALL: dict[str, dict[str, Any]] = {
    "tiny": {"model": "tiny"},
    "mlp": {"model": "mlp"},
    "mlp 512-512-512": {"model": "mlp", "model_arguments": {"hidden": [512, 512, 512]}},
}
"""Networks of the second table, in our own JAX as is the reference that they stand beside."""


class ComparisonError(RuntimeError):
    """The reference that all frameworks are held against could not be computed."""


def compare(
    data_name: str,
    *,
    out_dir: Path,
    data_dir: str | None = None,
    cache_dir: str | None = None,
    train_limit: int | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    epochs: int = 3,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    optimizer: str = "adam",
    frameworks: Sequence[str] | None = None,
    small: bool = True,
    num_threads: int | None = None,
    provenance: Mapping[str, Any] | None = None,
    on_progress: Callable[[str], None] = lambda line: None,
) -> Path:
    """Give every framework the same weights and batches, check that they agree, then time them.

    Every piece of work is a process of its own, with the same number of threads and processors. Each seed is
    a round over all frameworks, every other round in the opposite order. The training split is trained on and
    the test split is read once, after the last epoch: nothing is chosen in between.

    Launched again into the same folder with the same settings, only what is missing or failed is run.

    Args:
        data_name: a key of ``DATASETS``.
        out_dir: where to write; made if need be.
        data_dir, cache_dir, train_limit: as for ``load_dataset``.
        seeds: of the initial weights and of the order of the batches; one round each.
        epochs: passes over the training split.
        batch_size: examples per step.
        learning_rate: constant.
        optimizer: a name of ``OPTIMIZERS``.
        frameworks: names of ``FRAMEWORKS``; ``None`` for all.
        small: also measure the networks of ``SMALL``.
        num_threads: threads and processors for each process; ``None`` for all that this one may use.
        provenance: kept with the results as it is.
        on_progress: called with a line before each piece of work.

    Returns:
        ``<out_dir>/measurements.json``: ``config``, ``provenance``, and for each name in ``frameworks`` and
        ``small`` the fields of ``Row``.

    Raises:
        ValueError: an unknown name, a number out of range, or a folder with a comparison of other settings.
        DataError: the dataset is missing or damaged.
        ComparisonError: the reference could not be computed.
    """
    names = list(FRAMEWORKS) if frameworks is None else list(frameworks)
    for name in names:
        lookup(FRAMEWORKS, name, "framework")
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer={optimizer!r}; the frameworks share: {', '.join(OPTIMIZERS)}")
    num_threads = check_threads(num_threads)
    dataset = load_dataset(data_name, data_dir=data_dir, cache_dir=cache_dir, train_limit=train_limit)
    if not 1 <= batch_size <= len(dataset.train.labels):
        raise ValueError(
            f"batch_size={batch_size}; allowed: 1 to {len(dataset.train.labels)} for {data_name}"
        )
    if epochs < 1 or not seeds:
        raise ValueError(f"epochs={epochs} and {len(seeds)} seeds; allowed: at least one of each")
    task = {
        "image_shape": dataset.image_shape,
        "num_classes": dataset.num_classes,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
    }
    common = {"epochs": epochs, "batch_size": batch_size, "seed": seeds[0]}
    rows = {name: Row.of(name) for name in names}
    small_rows = {name: Row() for name in SMALL} if small else {}
    config = {"data": data_name, "train_limit": train_limit, "seeds": list(seeds), "num_threads": num_threads}
    results = {
        "config": config | common | task,
        "parity": {
            "gradient_tolerance": GRADIENT_TOLERANCE,
            "loss_tolerance": LOSS_TOLERANCE,
            "num_steps": NUM_STEPS,
            "num_starts": NUM_STARTS,
        },
        "num_train": len(dataset.train.labels),
        "num_test": len(dataset.test.labels),
        "data_checksum": dataset.checksum,
        "provenance": dict(provenance or {}),
    }
    _take_up(out_dir / "measurements.json", results, {"frameworks": rows, "small": small_rows})
    out_dir.mkdir(parents=True, exist_ok=True)
    if all(row.is_done(seeds) for row in (*rows.values(), *small_rows.values())):
        return _write(out_dir, results, rows, small_rows)
    with tempfile.TemporaryDirectory(prefix="frameworks-") as scratch:
        workplace = Workplace(Path(scratch), common, num_threads, on_progress)
        workplace.share(dataset)
        networks = {"reference": task} | {name: task | SMALL[name] for name in small_rows}
        outcome = workplace.run("reference", "jax_lax", task, networks=networks, seeds=list(seeds))
        if "error" in outcome:
            raise ComparisonError(f"the reference could not be computed: {outcome['error']}")
        for name, row in rows.items():
            if row.status == "completed" and row.parity is None:
                row.take_parity(workplace.run("parity", name, task))
                _write(out_dir, results, rows, small_rows)
        for index, seed in enumerate(seeds):
            pending = [("reference", name, task, row) for name, row in rows.items()]
            pending += [(name, "jax_im2col", networks[name], small_rows[name]) for name in SMALL if small]
            for weights, name, its_task, row in pending[:: -1 if index % 2 else 1]:
                if row.status == "completed" and not row.has(seed):
                    row.take_round(workplace.run("timing", name, its_task, seed=seed, weights=weights), seed)
                    _write(out_dir, results, rows, small_rows)
    return _write(out_dir, results, rows, small_rows)


@dataclass
class Row:
    """What is known of one framework so far.

    Args:
        status: "completed", "parity failed", "failed" or "not installed".
        install: the command that installs it.
        error: the last line of what it wrote when it failed.
        parity: what ``measure.check_parity`` returned.
        rounds: for each seed, what ``measure.time_training`` returned.
    """

    status: str = "completed"
    install: str | None = None
    error: str | None = None
    parity: dict[str, Any] | None = None
    rounds: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, name: str) -> "Row":
        """The row of a framework before anything is run."""
        entry = FRAMEWORKS[name]
        return cls("completed" if entry.is_installed else "not installed", entry.install)

    def has(self, seed: int) -> bool:
        """Whether the round of this seed was measured."""
        return any(measured["seed"] == seed for measured in self.rounds)

    def is_done(self, seeds: Sequence[int]) -> bool:
        """Whether nothing is left to measure; what failed is measured again."""
        return self.status != "completed" or all(self.has(seed) for seed in seeds)

    def take_parity(self, outcome: dict[str, Any]) -> None:
        """Note how far the framework is from the reference; too far, or nowhere, and it is not timed."""
        if "error" in outcome:
            self.status, self.error = "failed", outcome["error"]
            return
        self.parity = outcome
        if not outcome["holds"]:
            self.status = "parity failed"

    def take_round(self, outcome: dict[str, Any], seed: int) -> None:
        """Note what was measured; after an error there are no more rounds."""
        if "error" in outcome:
            self.status, self.error = "failed", f"seed {seed}: {outcome['error']}"
        else:
            self.rounds.append({"seed": seed} | outcome)


def _take_up(path: Path, results: Mapping[str, Any], tables: Mapping[str, Mapping[str, Row]]) -> None:
    """Fill the rows with what an earlier launch measured of the same thing."""
    if not path.exists():
        return
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
        for key in ("config", "data_checksum"):
            if _settings(earlier[key]) != _settings(json.loads(json.dumps(results[key]))):
                raise ValueError(
                    f"{path.parent} holds a comparison with other settings; choose another folder"
                )
        for key, table in tables.items():
            for name, row in table.items():
                measured = earlier[key].get(name, {})
                parity = measured.get("parity")
                if row.status == "completed" and (parity is None or parity["holds"]):
                    row.parity, row.rounds = parity, measured.get("rounds", [])
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}; remove it or choose another folder") from error


def _settings(config: Any) -> Any:
    """What has to be the same for measurements to stand in one table: all but how many seeds there are."""
    return {k: v for k, v in config.items() if k != "seeds"} if isinstance(config, dict) else config


def _write(
    folder: Path, results: Mapping[str, Any], frameworks: Mapping[str, Row], small: Mapping[str, Row]
) -> Path:
    tables = {"frameworks": frameworks, "small": small}
    rows = {key: {name: vars(row) for name, row in table.items()} for key, table in tables.items()}
    path = folder / "measurements.json"
    write_atomically(path, json.dumps({**results, **rows}, indent=2, allow_nan=False).encode())
    return path
