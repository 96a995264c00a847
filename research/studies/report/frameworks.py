"""The parts of a report that only the study of frameworks has.

The runs of that study hold measurements that other runs do not have: the distance of a framework from the
reference, the seconds of its first step, and the peak memory of its process.
"""

from collections.abc import Iterable

import numpy as np

from research.frameworks.base import OURS, STUDY
from research.frameworks.parity import GRADIENT_TOLERANCE, LOSS_TOLERANCE, NUM_STARTS, NUM_STEPS
from research.records import Run
from research.studies.report.text_table import NOTHING, Part, Table, percent, percent_interval
from research.studies.results import Arm, StudyResults
from research.studies.statistics import Summary, summarize

PARITY_NOTE = (
    "The table compares with JAX in float64: the gradients of the first step (relative error of the worst "
    f"array) and the loss after {NUM_STEPS} steps (nats, median over {NUM_STARTS} orders of the batches). "
    f"A framework that is off by more than {GRADIENT_TOLERANCE:g} or {LOSS_TOLERANCE:g} is not timed."
)
COST_NOTE = (
    "The test accuracy is measured after the last epoch; numbers are means over the seeds, with the 95 % "
    "interval. All frameworks have the same initial parameters and the same batches in the same order. The "
    "training time excludes compilation, and the first step includes it. The peak memory is that of the "
    "process; for frameworks without JAX it excludes the memory that the import of JAX took."
)


def framework_parts(study: StudyResults) -> list[Part]:
    """Return the tables of parity and of cost; nothing for any other study."""
    if study.name != STUDY:
        return []
    sentences = (COST_NOTE, processes(study), fastest(study), load(study))
    return [
        Part("Do they compute the same?", PARITY_NOTE, parity_table(study)),
        Part("What it costs", " ".join(filter(None, sentences)), cost_table(study)),
    ]


def framework_background(study: StudyResults) -> list[Part]:
    """Return the table of versions and threads; nothing for any other study."""
    return [Part("Versions and threads", "", versions_table(study))] if study.name == STUDY else []


def parity_table(study: StudyResults) -> Table:
    """Return a row per framework: its status and how far it is from the reference."""
    rows = []
    for arm in study.arms:
        run = _last(arm)
        measured = run.outcome.measurements if run else {}
        errors = [measured.get(key) for key in ("gradient_error", "loss_error")]
        gradient, loss = (NOTHING if error is None else f"{error:.1e}" for error in errors)
        worst = run.outcome.provenance.get("worst_array", NOTHING) if run else NOTHING
        repeatable = {None: NOTHING, 1.0: "yes", 0.0: "no"}[measured.get("repeatable")]
        rows.append((arm.name, status(arm), gradient, worst, loss, repeatable))
    return Table(("framework", "status", "gradient error", "in", "loss error", "same bits twice"), rows)


def cost_table(study: StudyResults) -> Table:
    """Return a row per framework: accuracy, training time, compilation, memory and threads."""
    costs = {"compile (s)": "compile_s", "first step (s)": "first_step_s", "peak memory (MiB)": "peak_mib"}
    rows = []
    for arm in study.arms:
        runs = list(arm.completed.values())
        if not runs:
            rows.append((arm.name, "0", status(arm), *[NOTHING] * 6))
            continue
        rows.append(
            (
                arm.name,
                str(len(runs)),
                f"{percent(arm.summary.mean)} {percent_interval(arm.summary.low, arm.summary.high)}",
                _with_interval(summarize(arm.seconds("train"))),
                _mean(run.outcome.images_per_s for run in runs),
                *(_mean(run.outcome.measurements.get(key) for run in runs) for key in costs.values()),
                str(runs[0].config.get("num_threads", NOTHING)),
            )
        )
    return Table(("framework", "n", "test accuracy (%)", "train (s)", "images/s", *costs, "threads"), rows)


def versions_table(study: StudyResults) -> Table:
    """Return a row per framework: the versions of its packages and the limits on its threads."""
    rows = []
    for arm in study.arms:
        run = _last(arm)
        facts = run.outcome.provenance if run else {}
        if "framework_versions" in facts:
            versions = ", ".join(f"{name} {version}" for name, version in facts["framework_versions"].items())
            threads = ", ".join(f"{key}={value}" for key, value in facts["threads"].items() if value)
            rows.append((arm.name, versions, threads))
    return Table(("framework", "versions", "threads"), rows)


def status(arm: Arm) -> str:
    """Return "completed", or the sentence that says why a framework has no measurement."""
    run = _last(arm)
    if run is None:
        return "missing"
    return run.status if run.status == "completed" else run.outcome.error or run.status


def fastest(study: StudyResults) -> str:
    """Return one sentence on which framework trained fastest, and how ours compares with it."""
    seconds = {arm.name: float(np.mean(arm.seconds("train"))) for arm in study.arms if arm.seconds("train")}
    if not seconds:
        return ""
    best = min(seconds, key=lambda name: seconds[name])
    sentence = f"{best} trained fastest, in {seconds[best]:.2f} s"
    if OURS in seconds and best != OURS:
        sentence += f"; {OURS}, this codebase's own, took {seconds[OURS] / seconds[best]:.2f} times as long"
    return sentence + "."


def processes(study: StudyResults) -> str:
    """Return one sentence on the processes in which the frameworks were measured."""
    if all(run.config.get("process_per_seed", True) for run in study.runs):  # old runs have no such key
        return "Every measurement has a process of its own."
    return (
        "A framework has one process for all its seeds, and the frameworks take turns. Compilation, first "
        "step and peak memory are those of the first seed."
    )


def load(study: StudyResults) -> str:
    """Return one sentence on the load of the machine while it measured."""
    loads = [run.outcome.measurements.get("load_average") for run in study.runs]
    found = [value for value in loads if value is not None]
    if not found:
        return ""
    threads = next(run.config.get("num_threads") for run in study.runs)
    return (
        f"The load average was at most {max(found):.1f} when a measurement began, of which up to "
        f"{threads} came from the measurement before; other work on the same processors makes times longer "
        "and intervals wider."
    )


def _last(arm: Arm) -> Run | None:
    """Return a completed run of the arm, or else its last run."""
    return next(iter([*arm.completed.values(), *reversed(arm.runs)]), None)


def _with_interval(summary: Summary) -> str:
    bounds = "" if np.isnan(summary.low) else f" [{summary.low:.2f}, {summary.high:.2f}]"
    return f"{summary.mean:.2f}{bounds}"


def _mean(values: Iterable[float | None]) -> str:
    found = [value for value in values if value is not None]
    if not found:
        return NOTHING
    mean = float(np.mean(found))
    return f"{mean:,.0f}" if mean >= 100 else f"{mean:.2f}"
