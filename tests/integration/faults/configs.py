"""Configurations drawn at random and mutated: each runs, or gives one sentence and exit code 2.

Every one goes through ``scripts/train.py`` in this process, from the words of a command line to the shapes of
the network, of the optimizer's state and of a training step. One in ``RUN_ONE_IN`` is also run, where it is
small.
"""

import contextlib
import functools
import io
import itertools
import os
import random
import re
import runpy
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
from hydra.core.global_hydra import GlobalHydra

from research import records
from research.cli import train
from research.cli.keys import choice_rows
from research.config import CHOICES, Config
from research.models import MODELS
from research.models.keywords import ACTIVATIONS, CONV_ALGORITHMS, INITIALIZERS
from research.runs import run as run_module
from research.runs.build import build_data
from research.runs.spec import ProgramSpec, program_spec
from research.training.evaluate import make_predict
from research.training.losses import LOSSES
from research.training.optimizers import OPTIMIZERS
from research.training.schedules import SCHEDULES
from research.training.state import Batch, init_state
from research.utils.nested import dotted_keys

SCRIPTS = Path(__file__).parents[3] / "scripts"
CONF = SCRIPTS.parent / "conf"

RUN_ONE_IN = 40
SECONDS = 180  # after which a configuration counts as one that hangs; a large network compiles for a minute
LONGEST_SENTENCE = 1000

START = ("model=tiny", "training.epochs=1", "training.batch_size=32", "data.train_limit=96")

GROUPS = {group: sorted(choice_rows(group)) for group in CHOICES}
PLAN_FOLDERS = {"study": "studies", "experiment": "experiment"}  # of each group
PLANS = sorted(
    f"+{group}={path.stem}" for group, folder in PLAN_FOLDERS.items() for path in CONF.glob(f"{folder}/*")
)

TABLES = {"model": MODELS, "optimizer": OPTIMIZERS, "schedule": SCHEDULES, "loss": LOSSES}
KEYS = sorted(
    {
        key
        for group, table in TABLES.items()
        for name in table
        for key in dotted_keys(Config.from_dict({group: {"name": name}}).to_dict())
    }
    | {"run", "resume", "sweep", "sweep.retry_failed", "study.arm", "study.tuning.seeds"}
    | {"model", "optimizer", "data", "training", "debug", "hydra.run.dir", "hydra.job.name"}
)
COMMON_KEYS = sorted(dotted_keys(Config.from_dict({"model": {"name": "tiny"}}).to_dict()))

WORDS = (*ACTIVATIONS, *INITIALIZERS, *CONV_ALGORITHMS, *itertools.chain.from_iterable(GROUPS.values()))

NUMBERS = (
    *(0, 1, 2, 3, 7, 31, 32, 33, 64, 96, 97, 1294, 1295, 2**16, 2**31 - 1, 2**31, 2**32),
    *(0.1, 0.5, 0.999, 1.0, 1e-3, 1e-30),
)

EXTREMES = [
    *Path(__file__).with_name("values.txt").read_text(encoding="utf-8").splitlines(),
    *("", " ", "9" * 400, "x" * 300, "y" * 100_000, "[" * 60, "{a:" * 30, "\u202e", "\udcff"),
]


def draw(rng: random.Random) -> list[str]:
    """The words of a command line: a small configuration with one to four mutations."""
    words: list[str] = [*START]
    for _ in range(rng.choice((1, 1, 1, 1, 2, 2, 3))):
        group = rng.choice(list(GROUPS))
        key = rng.choice(rng.choice((KEYS, COMMON_KEYS)))
        value = str(rng.choice(rng.choice((EXTREMES, NUMBERS, NUMBERS, WORDS))))
        words.append(
            rng.choice(
                (
                    *(f"{key}={value}",) * 16,
                    *(f"{group}={rng.choice(GROUPS[group])}",) * 6,
                    f"{group}={value}",
                    f"{group}={rng.choice(WORDS)}",
                    f"{key}=[{value},{rng.choice(NUMBERS)}]",
                    f"+{key}={value}",
                    f"++{key}={value}",
                    f"~{key}",
                    f"{key}.{rng.choice(WORDS)}={value}",
                    f"{_misspelt(rng, key)}={value}",
                    f"+{rng.choice(WORDS)}.{key}={value}",
                    rng.choice(PLANS),
                    rng.choice(words),
                    value if value[:1] != "-" else key,
                    "".join(map(chr, rng.choices(range(33, 600), k=rng.randrange(1, 12)))).lstrip("-"),
                )
            )
        )
    return words


def mutated_config(rng: random.Random, folder: Path) -> None:
    """One configuration runs, or gives one sentence and exit code 2."""
    words = draw(rng)
    runs = rng.randrange(RUN_ONE_IN) == 0
    code, out, err = call_train(words, folder, runs)
    said = f"{' '.join(words)!r:.500}: exit code {code}, {err!r:.1500}"
    assert "Traceback" not in out + err, said
    assert code in (0, 2) or "diverged" in out, said
    if code == 2:
        assert err.startswith("train.py: "), said
        assert err.count("\n") == 1, said
        assert len(err) <= LONGEST_SENTENCE, said
        assert out == "", said
    elif runs and "checked" not in out:
        status = re.search(r"test accuracy|diverged|preempted", out)
        assert status, f"{said} {out}"
        for run in records.find_runs(folder):
            assert run.status in records.FINISHED, said


def call_train(words: list[str], folder: Path, runs: bool) -> tuple[int, str, str]:
    """Exit code, output and errors of ``scripts/train.py`` in a folder within ``folder``."""
    inner = folder / "1" / "2" / "3"  # so that ../.. stays within
    inner.mkdir(parents=True)
    run = run_module.run

    def run_small(config: Config, folder: Path, *rest: Any, resume: bool = False) -> records.RunResult:
        small = check_shapes(config)
        if runs and small:
            return run(config, folder, *rest, resume=resume)
        return records.RunResult("missing", "shapes were checked only")

    out, err = io.StringIO(), io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace")
    with (
        contextlib.chdir(inner),
        mock.patch.object(sys, "argv", ["scripts/train.py", *words]),
        mock.patch.object(sys, "path", [str(SCRIPTS), *sys.path]),
        mock.patch.dict(os.environ, {"XDG_CACHE_HOME": str(folder / "cache"), "TFDS_DATA_DIR": str(folder)}),
        mock.patch.object(train, "run", run_small),
        mock.patch.object(train, "configure_jax"),
        mock.patch("research.sweeps.stages.run_tuned", return_value=(0, [])),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        no_longer_than(SECONDS),
    ):
        GlobalHydra.instance().clear()
        try:
            runpy.run_path(str(SCRIPTS / "train.py"), run_name="__main__")
            raise AssertionError("it did not exit")
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        finally:
            GlobalHydra.instance().clear()
    if "shapes were checked only" in out.getvalue():
        code = 0  # it is 1 for every run that has not completed
    err.seek(0)
    return code, out.getvalue(), err.read()


def check_shapes(config: Config) -> bool:
    """Trace what a run compiles; gives whether it is small enough to be run by the hundred."""
    return _trace(program_spec(config, build_data(config.data)))


@functools.lru_cache
def _trace(spec: ProgramSpec) -> bool:
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(
        lambda key: init_state(spec.net, spec.make_optimizer(), key, (1, *spec.image_shape)), key
    )
    images: Any = jax.ShapeDtypeStruct((spec.batch_size, *spec.image_shape), jnp.uint8)
    labels: Any = jax.ShapeDtypeStruct((spec.batch_size,), jnp.int32)
    if spec.axis_name is None:
        jax.eval_shape(spec.make_train_step(), state, Batch(images, labels))
    jax.eval_shape(make_predict(spec.net, spec.preprocess), state.params, state.model_state, images)
    return _is_small(spec, state.params)


class Hangs(BaseException):
    """No ``Exception``, so that none of ours catches it."""


@contextlib.contextmanager
def no_longer_than(seconds: float) -> Iterator[None]:
    """Raise where the block takes longer; does without in a thread that gets no signals."""

    def stop(number: int, frame: object) -> None:
        raise Hangs

    handler = signal.signal(signal.SIGALRM, stop)
    remaining, _ = signal.setitimer(signal.ITIMER_REAL, seconds)  # of pytest-timeout
    try:
        yield
    except Hangs:
        raise AssertionError(f"it hangs: more than {seconds} seconds") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if remaining:
            signal.setitimer(signal.ITIMER_REAL, remaining)


def _is_small(spec: ProgramSpec, params: Any) -> bool:
    num_parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    return num_parameters < 200_000 and spec.num_steps <= 200 and len(spec.net.layers) < 20


def _misspelt(rng: random.Random, key: str) -> str:
    place = rng.randrange(len(key))
    return key[:place] + rng.choice(("", key[place] * 2, "_", ".", "é")) + key[place + 1 :]
