"""The report of the framework comparison: ``results.json``, ``report.md`` and its figure."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from research.records import RecordError
from research.studies.figures.style import canvas, look, save, shared_legend
from research.studies.published import (
    CLAIMS,
    DATASET,
    PUBLISHED,
    Metric,
    SeedValues,
    judge,
    verdict_table,
)
from research.studies.report.markdown import to_markdown
from research.studies.report.section import (
    BESIDE_HEADING,
    CLAIMS_HEADING,
    CLAIMS_NOTE,
    Drawing,
    Part,
    Section,
)
from research.studies.report.table import NOTHING, RESULT_HEADERS, Table
from research.studies.statistics import summarize
from research.utils.files import write_atomically

MEASURED = ("accuracy", "train_s", "images_per_s", "compile_s", "first_step_s", "peak_mib")
OURS = "jax_im2col"
SLUG = "frameworks"
Row = dict[str, Any]


def read_comparison(path: Path) -> dict[str, Any]:
    """What ``measurements.json`` holds.

    Raises:
        FileNotFoundError: there is no such file.
        RecordError: the file is damaged.
    """
    try:
        measured = json.loads(path.read_text(encoding="utf-8"))
        summarize_comparison(measured)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{path} is damaged: {error!r}") from error
    return measured


def write_comparison(folder: Path) -> Path:
    """Read ``measurements.json`` in ``folder`` and write there what it shows.

    Writes ``results.json`` with a summary over the seeds of each measured number, ``report.md``, and the
    figure ``comparison.svg`` and ``.png``.

    Returns:
        The path of ``report.md``.

    Raises:
        FileNotFoundError: the folder holds no ``measurements.json``.
        RecordError: the file is damaged.
    """
    measured = read_comparison(folder / "measurements.json")
    content = json.dumps(summarize_comparison(measured), indent=2, allow_nan=False)
    write_atomically(folder / "results.json", content.encode())
    section = comparison_section(measured, folder, Path("comparison"))
    write_atomically(folder / "report.md", to_markdown([section]).encode())
    return folder / "report.md"


def summarize_comparison(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Results per framework: ``status``, the errors of parity, and a summary over the seeds of each number.

    A summary is ``{"n", "mean", "deviation", "low", "high"}`` with the bounds of the 95 % Student-t interval,
    and ``None`` for what too few values do not give; accuracy is a share in [0, 1].
    """
    small = dict(measured["small"])
    if small and OURS in measured["frameworks"]:
        small = {"reference": measured["frameworks"][OURS]} | small
    tables = {"frameworks": measured["frameworks"], "small": small}
    rounds = [r for table in tables.values() for row in table.values() for r in row["rounds"]]
    return {
        "load_average": max((r["load_average"] for r in rounds), default=None),
        **{key: value for key, value in measured.items() if key not in tables},
        **{key: {name: _summarize(row) for name, row in table.items()} for key, table in tables.items()},
    }


def _summarize(row: Row) -> Row:
    parity, rounds = row["parity"] or {}, row["rounds"]
    last = rounds[-1] if rounds else parity
    return {
        **{key: row[key] for key in ("status", "install", "error")},
        **{key: parity.get(key) for key in ("gradient_error", "worst_array", "loss_error", "repeatable")},
        **{key: _interval([r[key] for r in rounds if r[key] is not None]) for key in MEASURED},
        **{key: last.get(key) for key in ("num_parameters", "threads", "versions")},
    }


def _interval(values: list[float]) -> dict[str, float | None] | None:
    if not values:
        return None
    return {key: None if np.isnan(value) else value for key, value in asdict(summarize(values)).items()}


def draw_comparison(results: Mapping[str, Any]) -> Figure | None:
    """Accuracy, training time, and one against the other: mean and 95 % interval over the seeds."""
    rows = {name: row for name, row in results["frameworks"].items() if row["accuracy"]}
    if not rows:
        return None
    with canvas(1, 3, (11.0, 2.2 + 0.26 * len(rows))) as (figure, axes):
        accuracy, seconds, both = axes[0]
        for panel, key in ((accuracy, "accuracy"), (seconds, "train_s")):
            for index, row in enumerate(rows.values()):
                mean, half = _mean_and_half(row[key], key)
                panel.errorbar(mean, index, xerr=half, **_style(index))
            panel.set_yticks(range(len(rows)), rows if key == "accuracy" else [""] * len(rows))
            panel.invert_yaxis()
            panel.grid(False, axis="y")
        for index, (name, row) in enumerate(rows.items()):
            (x, xerr), (y, yerr) = (_mean_and_half(row[key], key) for key in ("train_s", "accuracy"))
            both.errorbar(x, y, yerr, xerr, label=name, **_style(index))
        accuracy.set(title="a  accuracy", xlabel="test accuracy (%)")
        seconds.set(title="b  training time", xlabel="training time (s)")
        both.set(title="c  both", xlabel="training time (s)", ylabel="test accuracy (%)")
        means = [row["train_s"]["mean"] for row in rows.values()]
        for panel in (seconds, both):
            if max(means) > 20 * min(means):
                panel.set_xscale("log")
            else:
                panel.set_xlim(left=0)
        shared_legend(figure, both, 11.0)
        return figure


def _mean_and_half(summary: Row, key: str) -> tuple[float, float | None]:
    """The mean and half of its interval, in percent where it is an accuracy."""
    factor = 100 if key == "accuracy" else 1
    half = None if summary["high"] is None else factor * (summary["high"] - summary["mean"])
    return factor * summary["mean"], half


def _style(index: int) -> dict[str, Any]:
    return look(index) | {"linestyle": "none", "capsize": 3}


def comparison_section(measured: Mapping[str, Any], folder: Path, place: Path) -> Section:
    """What was measured as a section of a report whose figure is written to ``folder / place``."""
    results = summarize_comparison(measured)
    config, parity, rows = results["config"], results["parity"], results["frameworks"]
    plan = (
        f"The reference network on {config['data']}: {results['num_train']:,} training images, "
        f"{config['epochs']} epochs, batches of {config['batch_size']}, {config['optimizer']} with learning "
        f"rate {config['learning_rate']:g}, {len(config['seeds'])} seeds, {config['num_threads']} threads. "
        "Initial weights, batches and their order are the same for all. Every measurement is a process of "
        "its own."
    )
    same = (
        "Gradients of the first step (relative error of the worst array) and the loss after "
        f"{parity['num_steps']} steps (nats, median over {parity['num_starts']} orders of the batches), both "
        f"against JAX in float64. What is off by more than {parity['gradient_tolerance']:g} or "
        f"{parity['loss_tolerance']:g} is not timed."
    )
    cost = (
        f"Mean over the seeds with the 95 % interval, on {results['num_test']:,} test images after the last "
        "epoch. Training is without compilation; the first step is with it."
    )
    on_mnist = config["data"] == DATASET
    parts = [
        Part("Do they compute the same?", same, _parity_table(rows)),
        Part(
            "What it costs", " ".join(filter(None, [cost, _fastest(rows), _load(results)])), _cost_table(rows)
        ),
        Part("Smaller networks, and dense layers alone", "In our own JAX.", _small_table(results["small"])),
        Part(BESIDE_HEADING, PUBLISHED_NOTE, _brief_table(rows) if on_mnist else Table((), [])),
        Part(CLAIMS_HEADING, CLAIMS_NOTE, _verdicts(measured)),
    ]
    command = results["provenance"].get("command")
    return Section(
        title="One network in several frameworks",
        slug=SLUG,
        question="Do the frameworks compute the same, and what does it cost them?",
        plan=plan,
        arms=(),
        results=[part for part in parts if part.table],
        drawings=_draw(results, folder, place),
        brief=_brief_table(rows),
        background=[Part("Versions and threads", "", _versions_table(rows))],
        commands=[command] if command else [],
    )


def result_rows(measured: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row of ``results.csv`` for each measurement, and one for each framework without any."""
    rows = []
    for name, row in (measured["frameworks"] | measured["small"]).items():
        common = {"study": SLUG, "arm": name, "status": row["status"], "error": row["error"]}
        if not row["rounds"]:
            rows.append(common | {"counted": False})
        for measurement in row["rounds"]:
            seconds = {f"{part}_seconds": measurement[f"{part}_s"] for part in ("compile", "train")}
            accuracy = {"test_accuracy": measurement["accuracy"], "epochs": measured["config"]["epochs"]}
            rows.append(measurement | common | seconds | accuracy | {"counted": True})
    return [
        tuple("" if row.get(key) is None else str(row[key]) for key in RESULT_HEADERS)  # as for the runs
        for row in rows
    ]


def _draw(results: Mapping[str, Any], folder: Path, place: Path) -> list[Drawing]:
    figure = draw_comparison(results)
    if figure is None:
        return []
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    save(figure, folder / place)
    caption = "Accuracy and training time of each framework: mean and 95 % interval over the seeds."
    return [Drawing(caption, place.with_suffix(".svg"), place.with_suffix(".png"))]


def _verdicts(measured: Mapping[str, Any]) -> Table:
    """The published claims about frameworks, judged over the rounds; empty on another dataset."""
    claims = CLAIMS["frameworks"] if measured["config"]["data"] == DATASET else ()
    rounds = {name: row["rounds"] for name, row in measured["frameworks"].items()}
    values: dict[Metric, dict[str, SeedValues]] = {
        "accuracy": {name: {r["seed"]: r["accuracy"] for r in its} for name, its in rounds.items()},
        "seconds": {name: {r["seed"]: r["train_s"] for r in its} for name, its in rounds.items()},
    }
    return verdict_table(judge(claims, values))


PUBLISHED_NOTE = "Three different networks, once each, so that neither column compares frameworks."


def _parity_table(rows: Mapping[str, Row]) -> Table:
    body = []
    for name, row in rows.items():
        errors = (
            _exponent(row["gradient_error"]),
            row["worst_array"] or NOTHING,
            _exponent(row["loss_error"]),
        )
        repeatable = {None: NOTHING, True: "yes", False: "no"}[row["repeatable"]]
        body.append((name, _status(row), *errors, repeatable))
    return Table(("framework", "status", "gradient error", "in", "loss error", "same bits twice"), body)


def _cost_table(rows: Mapping[str, Row]) -> Table:
    costs = {"compile (s)": "compile_s", "first step (s)": "first_step_s", "peak memory (MiB)": "peak_mib"}
    body = []
    for name, row in rows.items():
        if row["accuracy"] is None:
            body.append((name, "0", _status(row), *[NOTHING] * 6))
            continue
        speed = (_with_interval(row["train_s"], 1), _mean(row["images_per_s"]))
        more = (*(_mean(row[key]) for key in costs.values()), str(row["threads"]["num_threads"]))
        body.append((name, str(row["accuracy"]["n"]), _with_interval(row["accuracy"], 100), *speed, *more))
    return Table(
        ("framework", "n", "test accuracy (%)", "train (s)", "images/s", *costs, "threads"),
        body,
    )


def _small_table(rows: Mapping[str, Row]) -> Table:
    body = []
    for name, row in rows.items():
        if row["accuracy"] is None:
            body.append((name, NOTHING, _status(row), NOTHING, NOTHING))
            continue
        size, accuracy = f"{row['num_parameters']:,}", _with_interval(row["accuracy"], 100)
        body.append((name, size, accuracy, _with_interval(row["train_s"], 1), _mean(row["images_per_s"])))
    return Table(("network", "parameters", "test accuracy (%)", "train (s)", "images/s"), body)


def _brief_table(rows: Mapping[str, Row]) -> Table:
    body = []
    for name, row in rows.items():
        if row["accuracy"] is None:
            continue
        published = PUBLISHED["frameworks"].get(name.partition("_")[0])
        body.append(
            (
                name,
                str(row["accuracy"]["n"]),
                _with_interval(row["accuracy"], 100),
                _with_interval(row["train_s"], 1),
                _mean(row["images_per_s"]),
                _mean(row["peak_mib"]),
                f"{100 * published.accuracy:.1f}" if published else NOTHING,
                f"{published.seconds:.1f}" if published else NOTHING,
            )
        )
    headers = ("framework", "n", "test accuracy (%)", "train (s)", "images/s", "peak memory (MiB)")
    return Table((*headers, "published accuracy (%)", "published train (s)"), body)


def _versions_table(rows: Mapping[str, Row]) -> Table:
    body = []
    for name, row in rows.items():
        if row["versions"]:
            threads = ", ".join(f"{key}={value}" for key, value in row["threads"].items() if value)
            body.append((name, ", ".join(f"{k} {v}" for k, v in row["versions"].items()), threads))
    return Table(("framework", "versions", "threads"), body)


def _fastest(rows: Mapping[str, Row]) -> str:
    """One sentence that says which framework trained fastest, and how ours stands to it."""
    seconds = {name: row["train_s"]["mean"] for name, row in rows.items() if row["train_s"]}
    if not seconds:
        return ""
    best = min(seconds, key=lambda name: seconds[name])
    sentence = f"{best} trained fastest, in {seconds[best]:.2f} s"
    if OURS in seconds and best != OURS:
        sentence += f"; {OURS}, this codebase's own, took {seconds[OURS] / seconds[best]:.2f} times as long"
    return sentence + "."


def _load(results: Mapping[str, Any]) -> str:
    """One sentence on what else the machine may have done."""
    if results["load_average"] is None:
        return ""
    return (
        f"The load average was at most {results['load_average']:.1f} when a measurement began, "
        f"of which {results['config']['num_threads']} are the measurement before; other work on the same "
        "processors makes times longer and intervals wider."
    )


def _status(row: Row) -> str:
    note = {"not installed": row["install"], "failed": row["error"]}.get(row["status"])
    return f"{row['status']}: {note}" if note else row["status"]


def _with_interval(summary: Row, factor: float) -> str:
    mean, low, high = (summary[key] for key in ("mean", "low", "high"))
    text = f"{factor * mean:.2f}"
    return text if low is None else f"{text} [{factor * low:.2f}, {factor * high:.2f}]"


def _mean(summary: Row | None) -> str:
    if summary is None:
        return NOTHING
    return f"{summary['mean']:,.0f}" if summary["mean"] >= 100 else f"{summary['mean']:.2f}"


def _exponent(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1e}"
