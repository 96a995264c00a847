"""Train one network, or sweep over many with ``-m``. ``--help`` lists the configuration."""

from pathlib import Path
from typing import Any

from _main import main
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from research.build import check
from research.config import Config, ConfigError
from research.progress import Progress
from research.run import configure_jax, run
from research.tuning import TunedSweep

sweep = TunedSweep()


def job(values: dict[str, Any]) -> None:
    """Run one configuration, or, in a sweep on this machine, only plan it."""
    folder = Path(values.pop("run"))
    config = Config.from_dict(values)
    configure_jax(config)
    check(config)
    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        folder = Path(hydra.sweep.dir) / config.run_name()
        if hydra.runtime.choices["hydra/launcher"] == "basic":
            return sweep.plan(config, folder)
    if config.study and config.study.tuning:
        raise ConfigError("study.tuning is for a sweep on this machine; give -m, or study.tuning=null")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"run={folder} cannot be written: {error.strerror}; give another folder") from error
    result = run(config, folder, Progress())
    accuracy = result["test_accuracy"]
    print(
        f"test accuracy {accuracy:.4f}" if accuracy is not None else f"{result['status']}: {result['error']}"
    )
    print(f"run {folder}")
    return None


if __name__ == "__main__":
    main("config", job, after=sweep.run)
