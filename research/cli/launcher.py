"""The jobs of a sweep that a launcher spreads over processes or machines, before the launcher starts."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf

from research.cli.keys import Command
from research.utils.conf import CONF


def jobs_of_launcher(command: Command, words: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the composed configuration of every job that a launcher is to start, and set `HydraConfig` to it.

    A sweep without a launcher runs its jobs in this process, so it yields nothing.

    Args:
        command: what the command reads.
        words: the words of the command line.
    """
    arguments = get_args_parser().parse_args(words)
    if not (arguments.multirun or "hydra.mode=MULTIRUN" in words):
        return
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        places = create_config_search_path(str(CONF))
        if arguments.config_dir:
            places.prepend("command-line", f"file://{Path(arguments.config_dir).absolute()}")
        loader = ConfigLoaderImpl(places)
        name = arguments.config_name or command.config_name
        sweep = loader.load_configuration(name, arguments.overrides, RunMode.MULTIRUN)
        if sweep.hydra.runtime.choices["hydra/launcher"] == "basic":
            return
        swept = [f"{key}={value}" for key, value in (sweep.hydra.sweeper.params or {}).items()]
        overrides = OverridesParser.create(loader).parse_overrides([*swept, *sweep.hydra.overrides.task])
        for job in chain(*BasicSweeper.split_arguments(overrides, None)):
            config = loader.load_sweep_config(sweep, job)
            HydraConfig.instance().set_config(config)
            config = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
            values: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
            yield values
