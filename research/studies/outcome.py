"""The outcome of a study: tables, figures and the report. It imports no JAX, so that reading starts fast."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from research.records import RecordError, read_run
from research.studies.figures import FIGURES
from research.studies.findings import findings
from research.studies.report.table import arm_table, contrast_table, explain_contrasts, trial_table
from research.studies.report.text_table import Table
from research.studies.report.write import write_report
from research.studies.results import StudyResults, group_runs, read_studies


class StudyOutcome:
    """One study, read from the folders of its runs.

    Args:
        results: the runs, grouped into arms.
        folder: the folder that the runs lie in or below.
    """

    def __init__(self, results: StudyResults, folder: str | Path) -> None:
        self.results = results
        self.folder = Path(folder)

    @classmethod
    def of_runs(cls, runs: Iterable[str | Path], folder: str | Path) -> "StudyOutcome":
        """Return the outcome of the runs in some folders, which all belong to one study.

        Raises:
            RecordError: a file of a run is damaged, or the runs belong to no study or to several.
        """
        return cls(_only(group_runs([read_run(path) for path in runs]), folder), folder)

    def findings(self) -> list[str]:
        """Return what was found, in sentences, the most important one first."""
        return findings(self.results)

    def arms(self) -> Table:
        """Return a row per arm: test accuracy over its seeds, size, cost, and runs that did not complete."""
        table = arm_table(self.results.arms)
        records = [
            {
                "arm": arm.name,
                "n": arm.summary.n,
                "test_accuracy": _finite(arm.summary.mean),
                "deviation": _finite(arm.summary.deviation),
                "low": _finite(arm.summary.low),
                "high": _finite(arm.summary.high),
                "num_parameters": arm.num_parameters,
                "accuracies": dict(arm.accuracies),
                "not_completed": dict(arm.not_completed),
            }
            for arm in self.results.arms
        ]
        return Table(table.headers, table.rows, records=records)

    def contrasts(self) -> Table:
        """Return a row per contrast: the paired difference from the reference arm, and the verdict."""
        table = contrast_table(self.results)
        records = [
            {
                "arm": name,
                "pairs": contrast.difference.n,
                "difference": _finite(contrast.difference.mean),
                "low": _finite(contrast.difference.low),
                "high": _finite(contrast.difference.high),
                "p": contrast.p,
                "p_adjusted": contrast.p_adjusted,
                "verdict": contrast.verdict,
            }
            for name, contrast in self.results.contrasts.items()
        ]
        return Table(table.headers, table.rows, explain_contrasts(self.results), records)

    def trials(self) -> Table:
        """Return a row per pair of rates that was tried for an arm; empty if the study has no tuning."""
        return trial_table(self.results)

    def figure(self, name: str) -> Figure | None:
        """Return a figure of the report; None if the runs do not hold what the figure shows.

        Args:
            name: one of ``FIGURES``, such as "accuracy", "differences", "learning_curves" or "overview".

        Raises:
            ValueError: there is no such figure; the message lists all figures.
        """
        if name not in FIGURES:
            raise ValueError(f"figure={name} is not allowed; give one of {', '.join(FIGURES)}")
        return FIGURES[name](self.results)

    def report(self, out: str | Path | None = None) -> Path:
        """Write the report of every run in the folder, and return the path of ``report.md``.

        Args:
            out: the folder of the report; None for the folder of the runs.
        """
        return write_report(self.folder, out)

    def __repr__(self) -> str:
        question = f": {self.results.question}" if self.results.question else ""
        return f"{self.results.title}{question}\n\n{self.arms()}"

    def _repr_html_(self) -> str:
        return self.arms()._repr_html_()


def read_study(folder: str | Path) -> StudyOutcome:
    """Return the outcome of the one study in a folder.

    Args:
        folder: the folder of a sweep of the command line, or of `Study.run`.

    Raises:
        FileNotFoundError: there is no such folder.
        RecordError: a file of a run is damaged, or the folder holds no run or several studies.
    """
    return StudyOutcome(_only(read_studies(folder), folder), folder)


def _only(studies: list[StudyResults], folder: str | Path) -> StudyResults:
    if len(studies) != 1:
        titles = ", ".join(study.title for study in studies) or "none"
        raise RecordError(f"{folder} holds {len(studies)} studies ({titles}); give a folder with one study")
    return studies[0]


def _finite(value: Any) -> float | None:
    return None if math.isnan(value) else float(value)
