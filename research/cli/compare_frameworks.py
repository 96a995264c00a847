"""Train one network in several frameworks, with equal weights and batches, and write a report.

The report says first whether the frameworks agree, then what each of them costs.

Example:
    cnn-research compare-frameworks data=mnist seeds=5 training.epochs=3
"""

from pathlib import Path
from typing import Any

from rich.console import Console

from research.cli.keys import Command
from research.cli.wrapper import run_command
from research.config import ConfigError, with_recommendations
from research.frameworks.base import FRAMEWORKS
from research.frameworks.compare import SMALL, ComparisonError, compare
from research.frameworks.config import ComparisonConfig
from research.runs.provenance import code_and_machine
from research.runs.worker import RunError
from research.studies.report.write import write_report
from research.utils.progress_bar import make_bar
from research.utils.strict import construct

COMMAND = Command("compare_frameworks", __doc__, (ComparisonConfig,), ("data",))


def job(values: dict[str, Any]) -> None:
    """Compare the frameworks, write the report if it is wanted, and print where it is."""
    config = construct(ComparisonConfig, with_recommendations(values))
    out, console = Path(config.out), Console(highlight=False, soft_wrap=True)
    num_networks = len(config.frameworks or FRAMEWORKS) + len(SMALL) * config.small
    bar = make_bar(console, "measurements")
    task = bar.add_task("", total=1 + len(config.frameworks or FRAMEWORKS) + config.seeds * num_networks)

    def show(line: str) -> None:
        console.print(line, markup=False)
        bar.advance(task)

    try:
        with bar:
            compare(config, code_and_machine(), show)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    except ComparisonError as error:
        raise RunError(str(error)) from error
    print(f"report {write_report(out).with_suffix('.html')}" if config.report else f"runs {out}")


def main() -> None:
    """Run the command and exit."""
    run_command(COMMAND, job)
