"""Read the runs of a folder or of several, write one report, and print its tables.

Examples:
    cnn-research report multirun/depth
    cnn-research report multirun/a multirun/b --out comparison
"""

from pathlib import Path

from research.cli.arguments import Arguments
from research.cli.wrapper import exit_with
from research.config import ConfigError
from research.studies.findings import findings
from research.studies.report.search import trials_table
from research.studies.report.table import arm_table
from research.studies.report.write import write_report
from research.studies.results import read_studies


def command() -> int:
    """Write the report of the folders on the command line."""
    parser = Arguments(__doc__)
    described = "a run, a sweep (multirun/depth), or a folder of sweeps; several give one report"
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help=described)
    parser.add_argument("--out", help="folder of the report; without it, the folder of the runs")
    arguments = parser.parse_args()
    folders, out = arguments.folders, arguments.out
    if out == "":
        raise ConfigError("--out= is not allowed; give the path of a folder, such as ./report")
    report = write_report(folders, None if out is None else Path(out))
    for study in read_studies(*folders):
        print(f"{study.title}: {study.question}" if study.question else study.title)
        if study.search:
            print("", trials_table(study), "", sep="\n")
        else:
            print("", arm_table(study.arms), "", *findings(study), sep="\n")
    print(f"report {report}")
    return 0


def main() -> None:
    """Run the command and exit."""
    exit_with(command)
