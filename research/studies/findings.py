"""The findings of a study, in sentences."""

from research.studies.report.text_table import points
from research.studies.results import StudyResults


def findings(study: StudyResults) -> list[str]:
    """Return a sentence for each contrast in which a difference may be claimed.

    Args:
        study: the runs, grouped into arms.
    """
    return [
        f"{arm} has a {contrast.verdict} test accuracy than {study.reference}: "
        f"{points(contrast.difference)} points over {contrast.difference.n} seeds."
        for arm, contrast in study.contrasts.items()
        if contrast.verdict in ("higher", "lower")
    ]
