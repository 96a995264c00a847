"""Measure the saved parameters of a run on its test split again.

Example:
    cnn-research evaluate outputs/2026-01-31/12-00-00-000000
"""

from pathlib import Path

from research.cli.arguments import Arguments, check_choice
from research.cli.wrapper import exit_with
from research.config import ConfigError
from research.runs.run import evaluate
from research.training.tta import TTA
from research.utils.constraints import OneOf


def command() -> int:
    """Print the test loss and the test scores of the run on the command line."""
    parser = Arguments(__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument("--tta", help=f"test-time augmentation instead of the run's: {OneOf(TTA)}")
    arguments = parser.parse_args()
    run: Path = arguments.run
    check_choice("--tta", arguments.tta, TTA)
    if str(run).startswith("run=") and not run.exists():
        folder = str(run).removeprefix("run=")
        call = f"{parser.prog} {folder or 'RUN'}"
        raise ConfigError(f"run={folder} is not allowed; give the folder alone: {call}")
    measured = evaluate(run, arguments.tta)
    for name, value in measured.items():
        print(f"{name.replace('_', ' ')} {value!r}")
    return 0


def main() -> None:
    """Run the command and exit."""
    exit_with(command)
