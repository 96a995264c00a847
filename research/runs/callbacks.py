"""How a run tells a person where it is: a bar on a terminal, plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from research.training.fit import EpochMetrics
from research.utils.progress_bar import make_bar


class Quiet:
    """Says nothing."""

    @contextmanager
    def training(self, num_steps: int) -> Iterator[None]:
        """Surround the training of ``num_steps`` steps."""
        yield

    def steps(self, count: int) -> None:
        """Note ``count`` more steps."""

    def epoch(self, metrics: EpochMetrics) -> None:
        """Note the end of an epoch."""


class Progress(Quiet):
    """A line per epoch, and a bar below where the output is a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._bar = make_bar(self._console, "steps")

    @contextmanager
    def training(self, num_steps: int) -> Iterator[None]:
        """Show the bar for ``num_steps`` steps."""
        with self._bar:
            self._task = self._bar.add_task("training", total=num_steps)
            yield

    def steps(self, count: int) -> None:
        """Advance the bar."""
        self._bar.advance(self._task, count)

    def epoch(self, metrics: EpochMetrics) -> None:
        """Print the epoch's line."""
        self._console.print(
            f"epoch {metrics.epoch:3d}  train loss {metrics.train_loss:.4f}  "
            f"accuracy {metrics.train_accuracy:.4f}  validation loss {metrics.validation_loss:.4f}  "
            f"accuracy {metrics.validation_accuracy:.4f}  {metrics.seconds:.1f} s"
        )
