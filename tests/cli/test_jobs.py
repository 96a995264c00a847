"""The configurations of the jobs of a sweep are those that Hydra composes for each job alone."""

import copy
import random

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf, open_dict

from research.cli.jobs import Sweep, follows, open_sweep
from research.cli.nodes import register
from research.cli.train import COMMAND

CHOICES = (
    *("model=tiny,plain", "optimizer=sgd,adam,muon", "schedule=constant,cosine", "data=digits,mnist"),
    *("augmentation=none,standard", "+study=depth", "+study=activation", "+study=size", "logging=none,all"),
)
VALUES = (
    *("seed=range(0,3)", "training.epochs=1,2", "optimizer.learning_rate=1e-3,0.1", "seed=7"),
    *("debug.nans=true,false", "training.keep=last,best", "data.train_limit=64,null", "training.patience=2"),
    *("init_from='a,b','${model.name}'", "data.augmentations=[flip],[crop,flip]", "model.widths=[1],[2,3]"),
    *("training={epochs:4},{epochs:5}", "optimizer={learning_rate:0.5}", "+data.note=1,2", "~debug"),
    *("run='${hydra:job.num}','x'", "run='${hydra:runtime.choices.model}','${seed}'", "++seed=1,2"),
    *("parallel.name=jit,single", "training.precision=f32,bf16", "debug={nans:true}", "nothing=1,2"),
)
MOST_JOBS = 6


def random_words(seed: int) -> list[str]:
    """Return the words of a sweep, of which some are refused."""
    draw = random.Random(seed)
    words = draw.sample(CHOICES, draw.randint(0, 2)) + draw.sample(VALUES, draw.randint(1, 4))
    return ["-m", *draw.sample(words, len(words))]


def until_error(configurations):
    """Return what an iterator yields, and the type of the exception that ends it, if one does."""
    found = []
    try:
        found += configurations  # keeps what came before an exception
    except Exception as error:
        return found, type(error)
    return found, None


def ours(sweep: Sweep):
    for values, _ in sweep:
        yield values


def by_hydra(sweep: Sweep):
    """Yield the configurations as Hydra's own launcher composes them."""
    for number, job in enumerate(sweep.jobs):
        config = sweep.loader.load_sweep_config(sweep.master, list(job))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        HydraConfig.instance().set_config(config)
        own = copy.deepcopy(config)
        with open_dict(own):
            del own["hydra"]
        yield OmegaConf.to_container(own, resolve=True, throw_on_missing=True)


def check_sweeps(seeds) -> int:
    """Compare the sweeps of some seeds, and return the number of jobs."""
    register(COMMAND)
    count = 0
    for seed in seeds:
        words = random_words(seed)
        if sum(word.startswith("+study=") for word in words) > 1:
            continue  # Hydra refuses two choices of one group before there are any jobs
        sweep = open_sweep(COMMAND, words)
        assert sweep is not None
        sweep = Sweep(sweep.loader, sweep.master, sweep.jobs[:MOST_JOBS])
        assert sweep.master.hydra.sweep.dir  # all jobs have the time at which it was read
        found, expected = until_error(ours(sweep)), until_error(by_hydra(sweep))
        assert found == expected, words
        count += len(found[0])
    return count


def test_random_sweeps_are_those_of_hydra():
    assert check_sweeps(range(8)) > 10


@pytest.mark.slow  # Hydra needs 0.1 s for each of 1,500 jobs; the test above has the first of these sweeps
@pytest.mark.parametrize("first", range(0, 300, 50))
def test_many_random_sweeps_are_those_of_hydra(first):
    assert check_sweeps(range(first, first + 50)) > 100


def test_values_are_put_into_one_composition(monkeypatch):
    register(COMMAND)
    sweep = open_sweep(COMMAND, ["-m", "model=tiny,plain", "seed=range(0,50)", "training.epochs=1,2"])
    assert sweep is not None
    assert (sweep.is_plain, len(sweep.jobs)) == (True, 200)
    load, calls = sweep.loader.load_sweep_config, []
    monkeypatch.setattr(sweep.loader, "load_sweep_config", lambda *words: calls.append(words) or load(*words))
    found = [(v["model"]["name"], v["seed"], v["training"]["epochs"]) for v in ours(sweep)]
    assert found == [(m, s, e) for m in ("tiny", "plain") for s in range(50) for e in (1, 2)]
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("hydra.sweep.dir=a", True),
        ("hydra.sweeper.params={seed:'1,2'}", True),
        ("hydra.verbose=true", False),
        ("hydra/launcher=joblib", True),
        ("+hydra.job.env_set.A=b", False),
        ("seed=1", True),
    ],
)
def test_hydra_runs_the_jobs_itself_with_other_keys_of_its_own(word, expected):
    assert follows(["-m", word]) is expected


def test_a_single_run_is_no_sweep():
    assert open_sweep(COMMAND, ["seed=1"]) is None
    assert open_sweep(COMMAND, ["-m", "seed=1,2", "--cfg", "job"]) is None
