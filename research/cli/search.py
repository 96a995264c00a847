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
from research.cli.jobs import Sweep
from research.cli.keys import Command
from research.cli.wrapper import check_choices, compose_again, pop_keys, read_optional_folder, run_command
from research.config import Config, ConfigError, SearchConfig
from research.runs.run import leave_accelerators
from research.utils.nested import is_below

if TYPE_CHECKING:
    import research.sweeps.search


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


def distribution(word: str, override: Override) -> "research.sweeps.search.Distribution":
    """Return Optuna's distribution of the values of a sweep.

    Raises:
        ConfigError: the key cannot be searched, or the interval holds no value.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    key, value = override.get_key_element().lstrip("+"), override.value()
    if key.split(".")[0] not in [*COMMAND.config_keys, *COMMAND.presets] or is_below(key, FIXED):
        raise ConfigError(f"{word} is not allowed in a search, whose trials have one {key}; give one value")
    if isinstance(value, IntervalSweep):
        low, high, log = value.start, value.end, "log" in value.tags
        if low is None or high is None or not low < high or (log and low <= 0):
            raise ConfigError(f"{word} is not allowed; give LOW below HIGH, and with tag(log,...) above 0")
        is_whole, options = isinstance(low, int) and isinstance(high, int), {"log": log}
    elif isinstance(value, RangeSweep):
        values: list[Any] = sorted(override.sweep_iterator())
        # rounded, since a range ends with 0.30000000000000004 instead of 0.3
        low, high, step = (round(each, 12) for each in (values[0], values[-1], abs(value.step or 1)))
        is_whole, options = isinstance(low, int) and isinstance(step, int), {"step": step}
    else:
        return CategoricalDistribution(list(dict.fromkeys(override.sweep_string_iterator())))
    numbers: Any = IntDistribution if is_whole else FloatDistribution
    return numbers(low, high, **options)


def refuse_multirun(sweep: Sweep) -> None:
    """Refuse a sweep, which Hydra makes of the flag -m."""
    raise ConfigError("-m is not allowed with search, which always runs many trials; leave out -m")


def search(values: dict[str, Any], words: Sequence[str], searched: Mapping[str, Override]) -> int:
    """Run a search, print its best trial, and return the exit code.

    Args:
        values: the configuration that the words compose.
        words: the words of the command line that give one value.
        searched: the overrides that give several values, by their words.
    """
    if find_spec("optuna") is None:
        raise ConfigError("search needs optuna: pip install 'cnn-research[search]'")
    from research.sweeps.search import Search, as_words

    def make_config(params: Mapping[str, Any]) -> Config:
        composed = compose_again(COMMAND, [*words, *as_words(params)])
        of_run: Any = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
        pop_keys(of_run, SearchKeys)
        return Config.from_dict(of_run)

    keys = pop_keys(values, SearchKeys)
    if values["study"] is not None:
        raise ConfigError("study is not allowed in a search; leave it out")
    check_choices(list(searched))
    space = {each.get_key_element(): distribution(word, each) for word, each in searched.items()}
    if not space:
        raise ConfigError("search needs a key with several values; give for example 'model.depth=range(1,5)'")
    leave_accelerators()
    found = Search(space, make_config)
    folder = read_optional_folder(vars(keys), "out") or Path("multirun", "search", found.name.split()[-1])
    code = found.run(folder, keys.search)
    if found.best:
        best = as_words(found.best.params)
        of_train = [word for word in words if not word.lstrip("+").startswith(("out=", "search."))]
        print(f"best validation accuracy {found.best.values[0]:.4f} with {' '.join(best)}")
        print(f"train it: cnn-research train {shlex.join(of_train + best)}")
    print(f"search {folder}")
    return code


def main() -> None:
    """Run the command and exit."""
    called = list(sys.argv)
    searched = sweeps(called[1:])
    words = [word for word in called[1:] if word not in searched]
    sys.argv[1:] = words  # Hydra refuses several values without -m
    composed: list[dict[str, Any]] = []

    def finish() -> int:
        sys.argv = called  # an error lists the keys of these words
        return search(composed[0], words, searched) if composed else 0  # --cfg job runs nothing

    run_command(COMMAND, composed.append, before=refuse_multirun, after=finish)
