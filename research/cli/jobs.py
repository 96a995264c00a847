"""The configurations of the jobs of a sweep.

Hydra composes one configuration for each combination of choices. Values such as the seed are put into it for
each job, because a composition takes much longer.
"""

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from omegaconf import OmegaConf, open_dict

from research.cli.hydra_keys import given_hydra_keys, parse_word
from research.cli.keys import Command
from research.utils.conf import CONF
from research.utils.nested import is_below

FOLLOWED = ("hydra/launcher", "hydra.sweep.dir", "hydra.sweeper.params", "hydra.mode")
"""The keys of Hydra's configuration that `Sweep` follows. If another one is given, Hydra runs the jobs."""

OF_ONE_JOB = re.compile(r"\$\{hydra:(?!runtime\.choices\.)")
"""An interpolation of what Hydra knows about a single job, such as its number."""

MOST_KEPT = 100
"""Number of composed configurations that are kept for later jobs."""


@dataclass(frozen=True)
class Sweep:
    """The jobs of a sweep.

    Args:
        loader: composes the configurations.
        master: the configuration of the sweep itself.
        jobs: the words of each job.
    """

    loader: ConfigLoaderImpl
    master: Any
    jobs: Sequence[Sequence[str]]

    @property
    def launcher(self) -> str:
        """The name of the launcher."""
        return self.master.hydra.runtime.choices["hydra/launcher"]

    @property
    def is_plain(self) -> bool:
        """Whether the jobs run in this process, one after the other, without callbacks of Hydra."""
        sweeper = self.master.hydra.runtime.choices["hydra/sweeper"]
        return self.launcher == sweeper == "basic" and not self.master.hydra.callbacks

    def save(self) -> None:
        """Write `multirun.yaml` into the folder of the sweep, as Hydra does."""
        folder = Path(self.master.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.master, folder / "multirun.yaml")

    def __iter__(self) -> Iterator[tuple[dict[str, Any], bool]]:
        """Yield the configuration of each job, and whether `HydraConfig` changed for it."""
        values_by_column = _plain_columns(self.loader, self.jobs)
        kept: dict[tuple[str, ...], tuple[Any, Any]] = {}
        shown = None
        for number, job in enumerate(self.jobs):
            choices = tuple(word for index, word in enumerate(job) if index not in values_by_column)
            if choices not in kept:
                config = self.loader.load_sweep_config(self.master, list(job))
                with open_dict(config):
                    config.hydra.job.id = config.hydra.job.num = number
                own = copy.deepcopy(config)
                with open_dict(own):
                    del own["hydra"]
                if len(kept) >= MOST_KEPT:
                    kept.clear()
                kept[choices] = config, own
            config, own = kept[choices]
            if is_new := config is not shown:
                HydraConfig.instance().set_config(config)
                shown = config
            for index, values in values_by_column.items():
                key = job[index].partition("=")[0]
                OmegaConf.update(own, key, values[job[index]], merge=True)
            if is_new and OF_ONE_JOB.search(OmegaConf.to_yaml(own)):
                del kept[choices]
            found: Any = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
            yield found, is_new


def open_sweep(command: Command, words: Sequence[str]) -> Sweep | None:
    """Return the sweep that a command line asks for, or `None` if it asks for none.

    Args:
        command: what the command reads.
        words: the words of the command line.
    """
    arguments = get_args_parser().parse_args(list(words))
    if not (arguments.multirun or "hydra.mode=MULTIRUN" in words) or arguments.cfg or arguments.info:
        return None
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        places = create_config_search_path(str(CONF))
        if arguments.config_dir:
            places.prepend("command-line", f"file://{Path(arguments.config_dir).absolute()}")
        loader = ConfigLoaderImpl(places)
        name = arguments.config_name or command.config_name
        overrides = [*arguments.overrides, "hydra.mode=MULTIRUN"]
        master = loader.load_configuration(name, overrides, RunMode.MULTIRUN)
        swept = [f"{key}={value}" for key, value in (master.hydra.sweeper.get("params") or {}).items()]
        task: Any = OmegaConf.to_container(master.hydra.overrides.task, resolve=False)
        parsed = OverridesParser.create(loader).parse_overrides([*swept, *task])
        return Sweep(loader, master, [*chain(*BasicSweeper.split_arguments(parsed, None))])


def follows(words: Sequence[str]) -> bool:
    """Return whether `Sweep` follows every key of Hydra on a command line."""
    return all(is_below(key, FOLLOWED) for key in given_hydra_keys(words))


def _plain_columns(loader: ConfigLoaderImpl, jobs: Sequence[Sequence[str]]) -> dict[int, dict[str, Any]]:
    """Return the columns of a sweep whose words only set a value: the value of each word, by column.

    Column i holds word i of every job. Its values can be put into a configuration that is composed already. A
    word that chooses, adds or removes something, or sets a list or a mapping, needs another composition.

    Args:
        loader: knows which keys are those of choices.
        jobs: the words of each job.
    """
    keys = [word.partition("=")[0] for word in jobs[0]] if jobs else []
    plain: dict[int, dict[str, Any]] = {}
    for index, key in enumerate(keys):
        words = {job[index] for job in jobs}
        others = [other.lstrip("+~") for other in (*keys[:index], *keys[index + 1 :])]
        overlaps = is_below(key, others) or any(is_below(other, [key]) for other in others)
        if len(words) == 1 or overlaps or not re.fullmatch(r"[\w.]+", key) or is_below(key, ["hydra"]):
            continue
        if loader.repository.group_exists(key) or any(map(OF_ONE_JOB.search, words)):
            continue
        values = {word: _value(word) for word in words}
        if all(isinstance(value, int | float | str | None) for value in values.values()):
            plain[index] = values
    return plain


def _value(word: str) -> Any:
    """Return the value that Hydra reads in a word; an empty list if Hydra refuses the word."""
    text = word.partition("=")[2]
    if re.fullmatch(r"0|[1-9]\d*", text):
        return int(text)  # the parser of Hydra takes a millisecond
    override = parse_word(word)
    return [] if override is None else override.value()
