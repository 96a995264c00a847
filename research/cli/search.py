"""Search for the hyper-parameters with the best validation accuracy, by Optuna's TPE and median pruning.

A key with several values is searched. They are written as for a sweep: a,b,c or choice(a,b,c);
range(1,5); interval(0.1,0.9); int(interval(8,64)); tag(log,interval(1e-4,1e-1)) on a logarithmic scale.

Example:
    cnn-research search 'optimizer.learning_rate=tag(log,interval(1e-4,1e-1))' 'model.depth=range(1,5)'
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from omegaconf import OmegaConf

from research.cli.hydra_keys import parse_word
from research.cli.keys import Command
from research.cli.wrapper import check_choices, compose_again, pop_keys, read_folder, run_command
from research.config import Config, ConfigError, SearchConfig
from research.runs.run import leave_accelerators
from research.utils.nested import is_below

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class SearchKeys:
    """Keys of this command in addition to those of a run's configuration.

    Args:
        out: folder of the search; null: a folder in multirun/search, whose name is a hash of the space and
            the configuration.
        search: how the values of the trials are chosen.
    """

    out: str | None = None
    search: SearchConfig = field(default_factory=SearchConfig)


COMMAND = Command("search", __doc__, (SearchKeys,), [key.name for key in fields(Config)])

FIXED = ("seed", "study", "data.split_seed", "data.validation_fraction", "distributed", "debug", "logging")
"""Keys that a search may not choose, because the luckiest seed would win or trials could not be compared."""


def sweeps(words: Sequence[str]) -> dict[str, Override]:
    """Return the parsed overrides of a command line that give several values, by their words."""
    parsed = {word: parse_word(word) for word in words}
    return {word: override for word, override in parsed.items() if override and override.is_sweep_override()}


def distribution(word: str, override: Override) -> "optuna.distributions.BaseDistribution":
    """Return Optuna's distribution of the values of a sweep.

    Raises:
        ConfigError: the key cannot be searched, or the interval holds no value.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    key, value = override.get_key_element().lstrip("+"), override.value()
    if key.split(".")[0] not in {each.name for each in fields(Config)}:
        raise ConfigError(f"{word} is not allowed in a search; give {key} one value")
    if is_below(key, FIXED):
        raise ConfigError(
            f"{word} is not allowed in a search, whose trials all have one {key}; give one value"
        )
    if isinstance(value, IntervalSweep):
        low, high, log = value.start, value.end, "log" in value.tags
        if low is None or high is None or not low < high or (log and low <= 0):
            above = " above 0" if log else ""
            raise ConfigError(f"{word} is not allowed; give an interval(LOW,HIGH){above} with LOW below HIGH")
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=log)
        return FloatDistribution(low, high, log=log)
    if isinstance(value, RangeSweep):
        values: list[Any] = sorted(override.sweep_iterator())
        step: Any = abs(value.step or 1)
        if all(isinstance(each, int) for each in (*values, step)):
            return IntDistribution(values[0], values[-1], step=step)
        low, high = (float(f"{end:.12g}") for end in (values[0], values[-1]))  # 0.3, not 0.30000000000000004
        return FloatDistribution(low, high, step=step)
    return CategoricalDistribution(list(dict.fromkeys(override.sweep_string_iterator())))


def as_words(params: Mapping[str, Any]) -> list[str]:
    """Return values as the words of a command line.

    Example:
        >>> as_words({"optimizer": "adam", "optimizer.learning_rate": 0.001})
        ['optimizer=adam', 'optimizer.learning_rate=0.001']
    """
    return [f"{key}={value}" for key, value in params.items()]


def refuse_multirun(words: Sequence[str]) -> None:
    """Refuse the flag of a sweep."""
    if {"-m", "--multirun"} & set(words):
        raise ConfigError("-m is not allowed with search, which always runs many trials; leave out -m")


def main() -> None:
    """Run the command and exit."""
    called = sys.argv
    searched = sweeps(called[1:])
    words = [word for word in called[1:] if word not in searched]
    sys.argv = [called[0], *words]  # Hydra refuses several values without -m
    composed: list[dict[str, Any]] = []

    def make_config(params: Mapping[str, Any]) -> Config:
        sys.argv = [called[0], *words, *as_words(params)]  # an error lists the keys of these words
        composed_again = compose_again(COMMAND, sys.argv[1:])
        values: Any = OmegaConf.to_container(composed_again, resolve=True, throw_on_missing=True)
        pop_keys(values, SearchKeys)
        config = Config.from_dict(values)
        sys.argv = called
        return config

    def search() -> int:
        if find_spec("optuna") is None:
            raise ConfigError("search needs optuna: pip install 'cnn-research[search]'")
        from research.sweeps.search import Search

        sys.argv = called
        if not composed:  # --cfg job prints the configuration, and runs nothing
            return 0
        out = None if composed[0]["out"] is None else read_folder(composed[0], "out")
        keys = pop_keys(composed[0], SearchKeys)
        base = Config.from_dict(composed[0])
        unfit = {"study": base.study, "debug.overfit_batch": base.debug.overfit_batch}
        if key := next(
            (key for key, value in unfit.items() if value), base.distributed.is_on and "distributed"
        ):
            raise ConfigError(f"{key} is not allowed in a search; leave it out")
        check_choices(list(searched))
        space = {each.get_key_element(): distribution(word, each) for word, each in searched.items()}
        if not space:
            raise ConfigError(
                "search needs a key with several values; "
                "give for example 'optimizer.learning_rate=tag(log,interval(1e-4,1e-1))'"
            )
        leave_accelerators()
        found = Search(space, make_config)
        folder = out or Path("multirun", "search", found.name.split()[-1])
        code = found.run(folder, keys.search)
        if found.best:
            values = as_words(found.best.params)
            own = tuple(key.name for key in fields(SearchKeys))
            words_of_run = [word for word in words if not word.startswith(own)] + values
            print(f"best validation accuracy {found.best.values[0]:.4f} with {' '.join(values)}")
            print(f"train it: cnn-research train {shlex.join(words_of_run)}")
        print(f"search {folder}")
        return code

    run_command(COMMAND, composed.append, before=refuse_multirun, after=search)
