"""The log file that `hydra/job_logging=default` asks for, in the folder of the run."""

import logging
from logging.handlers import MemoryHandler
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from research.training.callback import Callback, Position


class RunLog(Callback):
    """Moves Hydra's log file from the working directory to the folder of the run.

    Messages from before the run begins are kept in memory until then, so a refused run leaves no file.

    Args:
        folder: the folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        hydra = HydraConfig.get()
        name = f"{hydra.job.name}.log"
        self._path = folder / name
        self._hydras = _file_handler(Path(hydra.runtime.output_dir) / name)
        self._early = MemoryHandler(capacity=1000, flushLevel=logging.CRITICAL + 1)
        if self._hydras is not None:
            _replace(self._hydras, self._early)
            made = Path(self._hydras.baseFilename)
            if made.exists() and made.stat().st_size == 0:
                made.unlink()

    def on_start(self, position: Position, num_steps: int) -> None:
        """Write earlier and later messages to the file in the folder of the run."""
        if self._hydras is not None:
            file = logging.FileHandler(self._path, encoding="utf-8")
            file.setFormatter(self._hydras.formatter)
            self._early.setTarget(file)
            _replace(self._early, file)


def _file_handler(path: Path) -> logging.FileHandler | None:
    """Return the handler that writes messages to a file; `None` if there is none."""
    handlers = [each for each in logging.getLogger().handlers if isinstance(each, logging.FileHandler)]
    return next((each for each in handlers if Path(each.baseFilename) == path), None)


def _replace(old: logging.Handler, new: logging.Handler) -> None:
    logging.getLogger().removeHandler(old)
    old.close()
    logging.getLogger().addHandler(new)
