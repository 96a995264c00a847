"""Keys of Hydra on a command line. `hydra.sweep.dir` is the only one about folders that has an effect."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from research.cli.keys import Command
from research.config import ConfigError
from research.utils.nested import dotted_keys

FOLDER_KEYS = {
    "hydra.run.dir": ((".",), "give {folder}=FOLDER instead"),
    "hydra.sweep.subdir": ((".",), "the folder of a run is named by its arm, its seed and its configuration"),
    "hydra.output_subdir": ((None,), "config.yaml in the folder of a run is its whole configuration"),
    "hydra.job.chdir": ((False, None), "relative paths start from the folder in which the command is called"),
    "hydra.runtime.output_dir": ((), "Hydra sets it itself; give {folder}=FOLDER instead"),
    "hydra.runtime.cwd": ((), "Hydra sets it itself; call the command in that folder"),
}
"""For each key, the values that change nothing, and a hint what to do instead of giving another value."""

IN_FILES = ("hydra.run.dir", "hydra.output_subdir", "hydra.job.chdir")
"""The keys that a file of a `--config-dir` may also set."""

INIT_FROM = "init_from.run"
"""The key that `init_from=FOLDER` gives."""

PATHS = ("data.path", "data.dir", "data.cache_dir", INIT_FROM, "loss.teacher", "run")
"""The keys whose values are paths, which may hold any character."""

MATCH = "init_from.match"
"""The key whose value is a pattern. Hydra does not parse a pattern such as `!conv2` without quotes."""


def quote_path(word: str) -> str:
    """Return a word of a command line so that Hydra reads a path or a pattern as it is written.

    These are the values of the keys of `PATHS` and of `MATCH`.

    Values that Hydra reads so anyway, quoted ones, `null`, interpolations and functions such as `choice(a,b)`
    are left as they are. A list becomes a sweep over its items.

    Example:
        >>> print(quote_path("data.path=größe (1),b"), quote_path("data.path=[a,b c]"))
        data.path='größe (1),b' data.path='a','b c'
        >>> print(quote_path("init_from=a b"), quote_path("init_from={run: a}"))
        init_from.run=a b init_from={run: a}
        >>> print(quote_path("init_from.match=!conv2"), quote_path("init_from.match=conv1,conv2"))
        init_from.match='!conv2' init_from.match=conv1,conv2
    """
    key, _, value = word.partition("=")
    if key == "init_from" and not value.startswith("{"):
        word, key = f"{INIT_FROM}={value}", INIT_FROM
    if key.lstrip("+") not in (*PATHS, MATCH) or value == "" or FUNCTION.match(value):
        return word
    override = parse_word(word)
    if override is None or (override.is_choice_sweep() and key != MATCH):
        return f"{key}={_quoted(value)}"
    if key == MATCH:
        return word
    parsed = override.value()
    if isinstance(parsed, list):
        return f"{key}={','.join(map(_quoted, parsed))}"
    # a run whose folder is a number is refused, because it is more often a mistake
    is_number = isinstance(parsed, int | float) and key.lstrip("+") != "run"
    return f"{key}={_quoted(value)}" if is_number else word


FUNCTION = re.compile(r"(choice|range|interval|glob|sort|shuffle|tag|extend_list)\(")


def _quoted(text: object) -> str:
    return QuotedString(str(text), Quote.single).with_quotes()


def parse_word(word: str) -> Override | None:
    """Return a word of a command line as Hydra parses it, or `None` if Hydra refuses it when it composes."""
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException:
        return None


def given_hydra_keys(words: Iterable[str]) -> dict[str, Any]:
    """Return the values of the keys of Hydra on a command line, by dotted name; other words are left out.

    Example:
        >>> given_hydra_keys(["seed=1", "hydra.run.dir=out", "++hydra.job={chdir:true}"])
        {'hydra.run.dir': 'out', 'hydra.job.chdir': True}
    """
    given: dict[str, Any] = {}
    for word in words:
        override = parse_word(word) if word.lstrip("+~").startswith("hydra") else None
        if override is None:
            continue
        value = word.partition("=")[2] if override.is_sweep_override() else override.value()
        given |= dotted_keys({override.key_or_group: value})
    return given


def swept_by_keys(given: Mapping[str, Any]) -> list[str]:
    """Return as words of a command line what the keys `hydra.sweeper.params` sweep over.

    Example:
        >>> swept_by_keys({"hydra.sweeper.params.seed": "range(0,8)"})
        ['seed=range(0,8)']
    """
    prefix = "hydra.sweeper.params."
    return [f"{key.removeprefix(prefix)}={value}" for key, value in given.items() if key.startswith(prefix)]


def check_folders(given: Mapping[str, Any], command: Command) -> None:
    """Refuse a key of Hydra about folders that the command does not follow.

    Args:
        given: values by the dotted names of their keys.
        command: the command; the error names its own key of a folder.

    Raises:
        ConfigError: a key of `FOLDER_KEYS` has a value that would be ignored.
    """
    own = [row.key for row in command.rows() if row.key in ("run", "out")]
    for key, (ignored, instead) in FOLDER_KEYS.items():
        if key in given and given[key] not in ignored:
            shown = "null" if given[key] is None else given[key]
            hint = instead.format(folder=own[0]) if own or "{" not in instead else "leave it out"
            raise ConfigError(f"{key}={shown} is not allowed: {hint}")
