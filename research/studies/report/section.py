"""The content of a report about one study, before it is formatted: texts, tables, and figures on disk."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from research.studies.diagnosis import diagnosis_table
from research.studies.differing_keys import differing_keys
from research.studies.figures import FIGURES
from research.studies.figures.panels import MOST_ARMS
from research.studies.figures.style import save
from research.studies.findings import findings, title_in_words
from research.studies.predictions import pooled_runs, shown_arm
from research.studies.published import brief_table, is_published, study_verdicts
from research.studies.replicates import is_fold
from research.studies.report.frameworks import framework_background, framework_parts
from research.studies.report.search import search_parts, search_plan
from research.studies.report.table import (
    arm_table,
    balanced_table,
    class_table,
    commands,
    contrast_table,
    difference_table,
    explain_contrasts,
    file_table,
    provenance_table,
    shared_table,
    trial_table,
    unfinished_table,
)
from research.studies.report.text_table import MOST_ROWS, Part, Table, counts_in_words
from research.studies.results import Arm, StudyResults, highest_first
from research.utils.nested import dotted_keys
from research.utils.progress_bar import track

ARMS_NOTE = (
    "The test accuracy is the mean ± standard deviation over the completed seeds, with the 95 % Student-t "
    "interval of the mean. «train» is the median over the seeds. «compile» is the maximum, because later "
    "seeds find the program compiled."
)
BALANCED_NOTE = (
    "All classes count equally here, whatever their number of test images. The balanced accuracy is the mean "
    "recall of the classes, and macro F1 is the mean of their F1. The differences are judged as in the table "
    "of contrasts."
)
FOLDS_NOTE = (
    "The test accuracy is the mean ± standard deviation over the folds of a cross-validation. The folds "
    "share training images, so the 95 % interval is that of the corrected resampled t test (Nadeau and "
    "Bengio, 2003). «train» is the median over the folds. «compile» is the maximum."
)
FILES_NOTE = (
    "The accuracy is that of the ONNX file on the test split. Size and time are medians over the seeds. The "
    "time is that of one call in ONNX Runtime for 1 and for 64 images, on the machine in the provenance."
)
CLAIMS_HEADING, BESIDE_HEADING = "Published claims", "Beside the published figures"
CLAIMS_NOTE = (
    "A claim is supported if in every comparison the interval lies above 0 and the sign-flip test, adjusted "
    "over all comparisons of these claims, agrees. It is not supported if one comparison shows the opposite, "
    "or if its whole interval lies below 0.1 points (5 % of the time). Otherwise it is not decidable at this "
    "number of seeds."
)
PUBLISHED_NOTE = "The published figures are single runs without intervals, by other networks and recipes."
TRIALS_NOTE = (
    "Every arm has the same number of trials, which run before its seeds and have other seeds. The arm takes "
    "the rates with the best mean validation accuracy. A trial never reads the test split."
)
DIAGNOSIS_NOTE = (
    "The table says what the curves of an arm show about its training, by rules of thumb that the guide «Why "
    "does my network not learn?» describes. A diagnosis is no finding: no test stands behind it."
)
RECIPE = {
    "data.name": "{}",
    "training.epochs": "epochs: {}",
    "training.batch_size": "batches of {}",
    "optimizer.name": "{}",
    "optimizer.learning_rate": "learning rate {:g}",
    "schedule.name": "{} schedule",
}
UNFINISHED_NOTE = (
    "These runs are in no statistic above. They are listed so that no run is left out of the report."
)


class Drawing(NamedTuple):
    """A figure: its caption, and its two files relative to the report."""

    caption: str
    svg: Path
    png: Path


@dataclass(frozen=True)
class Section:
    """One study of a report.

    Args:
        title: name of the study, in words.
        slug: the title as part of a path or a link; it is unique in the report.
        question: what the study asks; empty for runs without a study.
        findings: what was found, in sentences.
        plan: the numbers of arms and seeds, and how the runs ended.
        arms: the arms, which the HTML report draws beside their table.
        results: the tables of results.
        drawings: the figures.
        shown: a sentence that says which arms the figures show; empty if they show all.
        brief: the results in one short table, for a page with several studies.
        background: settings and provenance.
        commands: the commands that made the runs, if they are known.
    """

    title: str
    slug: str
    question: str
    findings: list[str]
    plan: str
    arms: Sequence[Arm]
    results: list[Part]
    drawings: list[Drawing]
    shown: str
    brief: Table
    background: list[Part]
    commands: list[str]


def published_parts(sections: Sequence[Section]) -> list[Part]:
    """Return the verdicts on all published claims in one table, then one table for each section."""
    claims = [
        (section.title, part.table)
        for section in sections
        for part in section.results
        if part.heading == CLAIMS_HEADING
    ]
    if not claims:
        return []
    headers = ("study", *claims[0][1].headers)
    verdicts = Table(headers, [(title, *row) for title, table in claims for row in table.rows])
    briefs = [
        Part(section.title, f"{section.question} {section.plan}", section.brief) for section in sections
    ]
    return [Part(CLAIMS_HEADING, f"{CLAIMS_NOTE} {PUBLISHED_NOTE}", verdicts), *briefs]


def make_sections(studies: Sequence[StudyResults], folder: Path, out: Path) -> list[Section]:
    """Return a section for each study in ``folder``, and draw its figures to ``<out>/figures/<slug>/``.

    The tables of all studies come before the first figure, so that a damaged file is named before anything
    is written.
    """
    slugs: list[str] = []
    for study in studies:
        slug = re.sub(r"[^a-z0-9]+", "-", study.title.lower()).strip("-")[:60] or "study"
        slugs.append(slug if slug not in slugs else f"{slug}-{len(slugs) + 1}")
    sections = [_section(study, slug, folder) for study, slug in zip(studies, slugs, strict=True)]
    pairs = list(zip(studies, sections, strict=True))
    return [
        replace(section, drawings=_draw(study, Path("figures") / section.slug, out))
        for study, section in track(pairs, "drawing", "studies")
    ]


def _section(study: StudyResults, slug: str, folder: Path) -> Section:
    """Return the section of a study without its figures."""
    brief = brief_table(study)
    arms, note = study.arms, FOLDS_NOTE if study.overlap else ARMS_NOTE
    if len(arms) > MOST_ROWS:
        arms, note = highest_first(arms), f"{note} The arms with the highest mean come first."
    results = [
        *framework_parts(study),
        *search_parts(study),
        Part("Arms", note, arm_table(arms)),
        Part("Contrasts", explain_contrasts(study), contrast_table(study)),
        Part("Size and time of the files", FILES_NOTE, file_table(study)),
        Part("Scores in which all classes count equally", BALANCED_NOTE, balanced_table(study)),
        Part(CLAIMS_HEADING, CLAIMS_NOTE, study_verdicts(study)),
        Part(BESIDE_HEADING, PUBLISHED_NOTE, brief if is_published(study) else Table((), [])),
        Part("Tuning trials", TRIALS_NOTE, trial_table(study)),
        Part("Diagnosis", DIAGNOSIS_NOTE, diagnosis_table(study)),
        Part("Runs that are not in the statistics", UNFINISHED_NOTE, unfinished_table(study, folder)),
    ]
    shown = shown_arm(study)
    seeds = [run.has_arrays for run in pooled_runs(shown)] if shown else []
    which = "all seeds" if all(seeds) else f"the {sum(seeds)} of {len(seeds)} seeds with an arrays.npz"
    if shown and len(seeds) < shown.summary.n:
        which = f"the first {len(seeds)} of {shown.summary.n} seeds"
    pooled = f"The scores are of {which} of the arm {shown.name!r} together." if shown else ""
    background = [
        Part("Scores by class", pooled, class_table(study)),
        Part("Settings in which the arms differ", "", difference_table(study)),
        Part("Settings that all runs share", "", shared_table(study)),
        *framework_background(study),
        Part("Provenance", "", provenance_table(study)),
    ]
    return Section(
        title=title_in_words(study),
        slug=slug,
        question=study.question or "",
        findings=findings(study),
        plan=search_plan(study) if study.search else _plan(study),
        arms=arms,
        results=[part for part in results if part.table or (part.heading == "Contrasts" and study.arms)],
        drawings=[],
        shown=_shown(study),
        brief=brief,
        background=[part for part in background if part.table],
        commands=commands(study),
    )


def _shown(study: StudyResults) -> str:
    """Return a sentence that says which arms the figures show; "" if they show all."""
    completed = sum(bool(arm.completed) for arm in study.arms)
    if completed <= MOST_ARMS:
        return ""
    others = " and the reference arm" if study.reference else ""
    return (
        f"The figures show the {MOST_ARMS} of {completed} arms with the highest mean test accuracy{others}."
    )


def _plan(study: StudyResults) -> str:
    counts = Counter(completed=sum(arm.summary.n for arm in study.arms))
    for arm in study.arms:
        counts += arm.not_completed
    seeds = {run.config.get("seed") for run in study.runs}
    outcome = counts_in_words(counts) or "0 completed"
    repeated = sum(len(arm.repeated) for arm in study.arms)
    outcome += f"; {repeated} repeated" if repeated else ""
    comparison = f" Reference arm: {study.reference}." if study.reference else ""
    num_folds = len({run.config["data"]["fold"] for run in study.runs if is_fold(run)})
    folds = f", {num_folds} fold{'s' * (num_folds > 1)}" if num_folds else ""
    plural = ("" if len(study.arms) == 1 else "s", "" if len(seeds) == 1 else "s")
    return (
        f"{len(study.arms)} arm{plural[0]}, {len(seeds)} seed{plural[1]}{folds}; "
        f"{sum(counts.values())} runs: {outcome}.{comparison} {_recipe(study)}"
    ).rstrip()


def _recipe(study: StudyResults) -> str:
    """Return the recipe that all runs of the study share, the number of trials per arm, and the machine."""
    if not study.runs:
        return ""
    config, differing = dotted_keys(study.runs[0].config), differing_keys(study.runs)
    words = [text.format(config[key]) for key, text in RECIPE.items() if key in config.keys() - differing]
    trials = Counter(str(trial.config["study"].get("arm")) for trial in study.trials)
    if trials:
        words.append(f"{max(trials.values())} trials per arm before its seeds")
    facts = next((run.result.provenance for run in study.runs if run.result), {})
    machine = [facts.get("device"), f"jax {facts.get('versions', {}).get('jax')}"] if facts else []
    return ", ".join(str(word) for word in (*words, *machine) if word) + "."


def _draw(study: StudyResults, place: Path, folder: Path) -> list[Drawing]:
    (folder / place).mkdir(parents=True, exist_ok=True)
    drawings = []
    for name, draw in FIGURES.items():
        figure = draw(study)
        if figure is not None:
            save(figure, folder / place / name)
            caption = (draw.__doc__ or name).partition("\n")[0]
            drawings.append(Drawing(caption, place / f"{name}.svg", place / f"{name}.png"))
    return drawings
