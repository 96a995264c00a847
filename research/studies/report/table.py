"""The tables of a report. Each is a pure function from a study to headers and rows of text."""

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from research.records import Run
from research.records.class_scores import class_scores
from research.studies.differing_keys import IGNORED_SECTIONS, differing_keys
from research.studies.findings import FOLDS_IN_TIME, NO_REFERENCE
from research.studies.predictions import confusion_counts, pool_predictions, shown_arm
from research.studies.replicates import (
    in_order,
    is_fold,
    replicate_in_words,
    replicate_of,
    seed_of,
    seeds_in_words,
)
from research.studies.report.text_table import (
    NOTHING,
    Table,
    counts_in_words,
    percent,
    percent_interval,
    percent_spread,
    points,
    points_interval,
)
from research.studies.results import TUNED_KEYS, Arm, StudyResults, differences
from research.studies.statistics import Contrast, compare, seeds_needed, summarize
from research.utils.nested import dotted_keys

PROVENANCE_NAMES = {
    "commit": "git commit",
    "dirty": "uncommitted changes",
    "xla_flags": "XLA_FLAGS",
    "num_devices": "devices",
    "data_checksum": "data checksum",
    "num_left_out": "files of images left out",
    "python": "Python",
}
BALANCED_WITHIN = 0.005
"""The distance from the accuracy below which a balanced accuracy says nothing else."""
RESULT_NUMBERS = (
    *("test_accuracy", "test_loss", "validation_accuracy", "validation_loss"),
    *("epochs", "best_epoch", "num_parameters", "images_per_s"),
)
RESULT_HEADERS = (
    *("study", "arm", "seed", "fold", "status", *RESULT_NUMBERS),
    *("compile_seconds", "train_seconds", "total_seconds", "counted", "error", "folder"),
)


def arm_table(arms: Sequence[Arm]) -> Table:
    """Return a row per arm: test accuracy over its seeds, size, cost, and the runs that did not complete."""
    headers = (
        "arm",
        "n",
        "test accuracy (%)",
        "95 % interval",
        "parameters",
        "train (s)",
        "compile (s)",
        "not completed",
    )
    return Table(headers, [_arm_row(arm) for arm in arms])


def _arm_row(arm: Arm) -> tuple[str, ...]:
    summary = arm.summary
    train, compiling = arm.seconds("train"), arm.seconds("compile")
    return (
        arm.name,
        str(summary.n),
        percent_spread(summary),
        percent_interval(summary.low, summary.high),
        NOTHING if arm.num_parameters is None else f"{arm.num_parameters:,}",
        f"{np.median(train):.1f}" if train else NOTHING,
        f"{max(compiling):.1f}" if compiling else NOTHING,
        counts_in_words(dict(sorted(arm.not_completed.items()))) or "0",
    )


def contrast_table(study: StudyResults) -> Table:
    """Return a row per contrast: the paired difference from the reference arm in points, and the verdict."""
    headers = ("arm", "pairs", "difference (points)", "95 % interval", "p", "p (Holm)", "verdict")
    return Table(headers, [_contrast_row(name, contrast) for name, contrast in study.contrasts.items()])


def _contrast_row(name: str, contrast: Contrast) -> tuple[str, ...]:
    difference = contrast.difference
    return (
        name,
        str(difference.n),
        NOTHING if math.isnan(difference.mean) else f"{100 * difference.mean:+.2f}",
        points_interval(difference),
        f"{contrast.p:.4f}" if difference.n else NOTHING,
        f"{contrast.p_adjusted:.4f}" if difference.n else NOTHING,
        contrast.verdict,
    )


def explain_contrasts(study: StudyResults) -> str:
    """Return a text that explains the table of contrasts and says how many seeds a claim would need."""
    if study.reference is None:
        return NO_REFERENCE
    m = len(study.contrasts)
    if m and study.overlap:
        return _explain_folds(study, m)
    if m == 0:
        return f"The reference arm {study.reference!r} has no other planned arm to be compared with."
    text = (
        f"The difference is test accuracy minus that of the reference arm {study.reference!r}, in percentage "
        "points, paired by seed. It has a Student-t interval, and an exact sign-flip test with Holm's "
        f"adjustment over the {m} planned contrast{'s' * (m > 1)}. A difference is claimed only if interval "
        "and adjusted test agree."
    )
    if any(contrast.verdict == "descriptive only" for contrast in study.contrasts.values()):
        text += (
            f" «Descriptive only» means that there are too few pairs: {m} "
            f"contrast{'s need' if m > 1 else ' needs'} at least {seeds_needed(m)} before a difference can "
            "be claimed."
        )
    return text


def _explain_folds(study: StudyResults, num_contrasts: int) -> str:
    """Return a text that explains the contrasts of a cross-validation."""
    text = (
        f"The difference is test accuracy minus that of the reference arm {study.reference!r}, in percentage "
        "points, paired by fold. "
    )
    if np.isinf(study.overlap):
        return text + FOLDS_IN_TIME
    return text + (
        "The folds share training images, so interval and p-value are those of the corrected resampled "
        f"t test (Nadeau and Bengio, 2003): the variance of the mean is s² (1 / J + {study.overlap:.3f}) for "
        f"J folds, where {study.overlap:.3f} is the number of test images divided by that of training "
        f"images. Holm's adjustment is over the {num_contrasts} planned "
        f"contrast{'s' * (num_contrasts > 1)}. A difference is claimed only if interval and adjusted test "
        "agree."
    )


def file_table(study: StudyResults) -> Table:
    """Return a row per arm whose runs made files: the accuracy, size and time of the files."""
    headers = ("arm", "test accuracy (%)", "difference (points)", "verdict", "MB", "ms for 1", "ms for 64")
    rows = []
    for arm in study.arms:
        measured = (arm.measured(key) for key in ("file_bytes", "milliseconds_1", "milliseconds_64"))
        size, one, many = (float(np.median([*values.values()])) if values else np.nan for values in measured)
        if not math.isnan(size):
            contrast = study.contrasts.get(arm.name)
            judged = (points(contrast.difference), contrast.verdict) if contrast else (NOTHING, NOTHING)
            numbers = f"{size / 1e6:.4f}", f"{one:.3f}", f"{many:.3f}"
            rows.append((arm.name, percent_spread(arm.summary), *judged, *numbers))
    return Table(headers, rows)


def trial_table(study: StudyResults) -> Table:
    """Return a row per pair of rates that an arm tried: mean validation accuracy, and the choice."""
    rows = []
    for arm in study.arms:
        mine = [run for run in study.trials if str(run.config["study"].get("arm")) == arm.name]
        groups: dict[tuple[Any, ...], list[Run]] = defaultdict(list)
        for run in mine:
            groups[tuple(dotted_keys(run.config)[key] for key in TUNED_KEYS)].append(run)
        chosen = tuple(arm.setting(key) for key in TUNED_KEYS)
        for rates, runs in sorted(groups.items()):
            found = [run.outcome.validation_accuracy for run in runs]
            accuracies = [np.nan if accuracy is None else accuracy for accuracy in found]
            rows.append(
                (
                    arm.name,
                    *(f"{rate:g}" for rate in rates),
                    ", ".join(str(seed_of(run)) for run in runs),
                    percent(float(np.mean(accuracies))),
                    counts_in_words(Counter(run.status for run in runs)),
                    "yes" if rates == chosen else "",
                )
            )
    headers = ("arm", "learning rate", "weight decay", "seeds", "validation accuracy (%)", "trials", "chosen")
    return Table(headers, rows)


def unfinished_table(study: StudyResults, folder: Path) -> Table:
    """Return a row per run that is in no statistic: how it ended, why, and where it is.

    Runs of one arm that ended in the same way share a row.
    """
    rows: dict[tuple[str, str, str], list[Run]] = defaultdict(list)
    absent = []
    for run in study.earlier:
        if run.status != "completed":
            stage, arm = (run.config["study"].get(key) for key in ("stage", "arm"))
            name = f"stage {stage}" + ("" if arm == stage else f", {arm}")
            rows[name, run.status, _reason(run)].append(run)
    for arm in study.arms:
        for run in arm.runs:
            if run.status != "completed":
                rows[arm.name, run.status, _reason(run)].append(run)
        for run in arm.repeated:
            reason = f"repeated: another run of this seed counts. {_reason(run)}".strip()
            rows[arm.name, run.status, reason].append(run)
        if arm.absent:
            seeds = ", ".join(map(replicate_in_words, arm.absent))
            absent.append((arm.name, seeds, "missing", "never started: there is no folder", NOTHING))
    found = []
    for (name, status, reason), runs in rows.items():
        seeds = ", ".join(map(replicate_in_words, in_order({replicate_of(run) for run in runs})))
        place = os.path.commonpath([run.path.absolute() for run in runs])
        found.append((name, seeds, status, reason, os.path.relpath(place, folder)))
    return Table(("arm", "seed", "status", "why", "folder"), [*found, *absent])


def _reason(run: Run) -> str:
    if run.result is None:
        return "no result.json: it was interrupted or is still running"
    return run.result.error or ""


def difference_table(study: StudyResults) -> Table:
    """Return a row per arm: the values of the configuration in which the arms differ."""
    keys = differing_keys(study.runs)
    rows = [
        (arm.name, *(NOTHING if (value := arm.setting(key)) is None else str(value) for key in keys))
        for arm in study.arms
        if arm.runs
    ]
    return Table(("arm", *keys), rows if keys else [])


def shared_table(study: StudyResults) -> Table:
    """Return a row per value of the configuration that all runs of the study share."""
    runs = study.runs or study.trials
    if not runs:
        return Table(("setting", "value"), [])
    hidden = {*IGNORED_SECTIONS, *differing_keys(runs)}
    config = dotted_keys({key: value for key, value in runs[0].config.items() if key != "study"})
    return Table(
        ("setting", "value"),
        [
            (key, "null" if value is None else str(value))
            for key, value in config.items()
            if key not in hidden
        ],
    )


OF_ONE_RUN = ("started", "command", "parameters_sha256", "class_names", "init_checksum", "init_from")
"""Facts about the origin of a run that are no row of the table; `started` has a row of its own."""


def provenance_table(study: StudyResults) -> Table:
    """Return a row per fact about the origin of the runs; facts that differ are listed with counts."""
    runs = study.runs or study.trials  # a search has trials only
    found = [dotted_keys(run.result.provenance) for run in runs if run.result]
    keys = [key for key in dict.fromkeys(key for facts in found for key in facts) if key not in OF_ONE_RUN]
    rows = [
        (PROVENANCE_NAMES.get(key, key.removeprefix("versions.")), _values(facts.get(key) for facts in found))
        for key in keys
    ]
    started = sorted(str(facts["started"]) for facts in found if facts.get("started"))
    if started:
        rows.append(("started", " to ".join(dict.fromkeys([started[0], started[-1]]))))
    rows.append(("seeds", seeds_in_words({seed_of(run) for run in runs})))
    rows.append(("time of all runs", f"{_total_seconds(runs):,.1f} s"))
    if study.earlier:
        devices = (dotted_keys(run.outcome.provenance) for run in study.earlier)
        trained = (f"{facts.get('device')}, jax {facts.get('versions.jax')}" for facts in devices)
        rows.append(("runs of the earlier stages", _values(trained)))
        rows.append(("time of the earlier stages", f"{_total_seconds(study.earlier):,.1f} s"))
    if study.runs and study.trials:
        rows.append(("time of all trials", f"{_total_seconds(study.trials):,.1f} s"))
    return Table(("fact", "value"), rows)


def _total_seconds(runs: Iterable[Run]) -> float:
    return sum(run.result.seconds.total for run in runs if run.result and run.result.seconds)


def _values(values: Iterable[Any]) -> str:
    counts = Counter("none" if value in (None, "") else str(value) for value in values)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{value} ({count} run{'s' * (count > 1)})" for value, count in counts.most_common())


def class_table(study: StudyResults) -> Table:
    """Return a row per class: precision, recall and F1 over all seeds of `shown_arm`."""
    arm = shown_arm(study)
    predictions = pool_predictions(arm) if arm else None
    headers = ("class", "test images", "precision (%)", "recall (%)", "F1 (%)")
    if predictions is None:
        return Table(headers, [])
    counts = confusion_counts(predictions)
    images = counts.sum(1) // predictions.num_seeds
    scores = class_scores(counts)
    return Table(
        headers,
        [
            (name, str(images[index]), *(percent(float(score[index])) for score in scores))
            for index, name in enumerate(predictions.class_names)
        ],
    )


def balanced_table(study: StudyResults) -> Table:
    """Return a row per arm: the scores in which all classes count equally, whatever their number of images.

    There is no row if the training images have no long tail and the balanced accuracy is the accuracy.
    """
    headers = ("arm", "n", "balanced accuracy (%)", "difference (points)", "verdict", "macro F1 (%)")
    scores = {arm.name: arm.measured("test_balanced_accuracy") for arm in study.arms}
    is_imbalanced = any((arm.setting("data.imbalance") or 1) < 1 for arm in study.arms)
    if not is_imbalanced and all(
        abs(score - arm.accuracies[seed]) < BALANCED_WITHIN
        for arm in study.arms
        for seed, score in scores[arm.name].items()
    ):
        return Table(headers, [])
    reference = scores.get(str(study.reference), {})
    pairs = {name: differences(scores[name], reference) for name in study.contrasts}
    contrasts = compare(pairs, overlap=study.overlap)
    rows = []
    for arm in study.arms:
        summary, contrast = summarize([*scores[arm.name].values()]), contrasts.get(arm.name)
        judged = (points(contrast.difference), contrast.verdict) if contrast else (NOTHING, NOTHING)
        f1 = percent_spread(summarize([*arm.measured("test_macro_f1").values()]))
        rows.append((arm.name, str(summary.n), percent_spread(summary), *judged, f1))
    return Table(headers, rows)


def commands(study: StudyResults) -> list[str]:
    """Return the distinct commands that made the runs, as far as the runs recorded them."""
    found = (run.outcome.provenance for run in study.runs or study.trials)
    return list(dict.fromkeys(str(facts["command"]) for facts in found if facts.get("command")))


def results_table(studies: Iterable[StudyResults], folder: Path) -> Table:
    """Return a row per run for a spreadsheet, in full precision; a cell without a number is empty."""
    rows = []
    for study in studies:
        for arm in study.arms:
            for run in (*arm.runs, *arm.repeated):
                result = run.outcome
                seconds = result.seconds
                fold = run.config["data"]["fold"] if is_fold(run) else None
                row = [study.title, arm.name, seed_of(run), fold, run.status]
                row += [getattr(result, key) for key in RESULT_NUMBERS]
                row += [seconds.compile, seconds.train, seconds.total] if seconds else [None] * 3
                row += [arm.completed.get(replicate_of(run)) is run, result.error]
                row += [os.path.relpath(run.path, folder)]
                rows.append(tuple("" if cell is None else str(cell) for cell in row))
            for replicate in arm.absent:
                seed, fold = (replicate, "") if isinstance(replicate, int) else map(str, replicate)
                blank = [""] * (len(RESULT_HEADERS) - 8)
                rows.append((study.title, arm.name, str(seed), fold, "missing", *blank, "False", "", ""))
    return Table(RESULT_HEADERS, rows)
