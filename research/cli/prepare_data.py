"""Download a dataset, check it, and write it as a TFDS folder; no TensorFlow is needed.

Example:
    cnn-research prepare-data data=mnist
"""

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import Progress

from research.cli.keys import Command
from research.cli.wrapper import run_command
from research.config import Config, ConfigError
from research.data import DATASETS, prepare
from research.data.preparation import ADDRESSES


@dataclass(frozen=True)
class PrepareKeys:
    """Keys of this command.

    Args:
        mirror: an address to download from instead of the published ones; file:///FOLDER is a folder here.
    """

    mirror: str | None = None


COMMAND = Command("prepare_data", __doc__, (PrepareKeys,), ("data",))


def job(values: dict[str, Any]) -> None:
    """Prepare the dataset `data` in the folder `data.dir`."""
    mirror = values.pop("mirror", None)
    if mirror is not None and not str(mirror).startswith(ADDRESSES):
        raise ConfigError(
            f"mirror={mirror} is not allowed; give an address that begins with {' or '.join(ADDRESSES)}"
        )
    data = Config.from_dict(values).data
    if data.source != "table":
        raise ConfigError(f"data={data.source} is not allowed; give one of {', '.join(sorted(DATASETS))}")
    console = Console()
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        tasks = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what)
                bar.console.print(what, highlight=False)
            bar.update(tasks[what], completed=done, total=total)

        folder = prepare(data.name, data_dir=data.dir, mirror=mirror, progress=progress)
    print(f"{data.name} is in {folder}")


def main() -> None:
    """Run the command and exit."""
    run_command(COMMAND, job)
