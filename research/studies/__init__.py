"""Comparisons of many runs: plan and run a study, read its runs, judge the contrasts, write the report.

Names are loaded when they are first used, so that reading a study and writing a report start without JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from research.studies.outcome import StudyOutcome, read_study
    from research.studies.results import StudyResults, read_studies
    from research.studies.study import Study, study_names

__all__ = ["Study", "StudyOutcome", "StudyResults", "read_studies", "read_study", "study_names"]

_MODULES = {
    "Study": "study",
    "StudyOutcome": "outcome",
    "StudyResults": "results",
    "read_studies": "results",
    "read_study": "outcome",
    "study_names": "study",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
