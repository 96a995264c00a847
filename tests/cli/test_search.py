"""The command search: its space in Hydra's grammar, and the whole of a search."""

import pytest

pytest.importorskip("optuna")

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from research.cli.search import distribution, sweeps
from research.config import ConfigError
from research.records import find_runs

SPACES = {
    "model=plain,tiny": CategoricalDistribution(["plain", "tiny"]),
    "data.augmentations=choice([flip],[flip,crop])": CategoricalDistribution(["[flip]", "[flip,crop]"]),
    "model.depth=range(1,5)": IntDistribution(1, 4),
    "model.depth=range(5,1,-2)": IntDistribution(3, 5, step=2),
    "training.label_smoothing=range(0.1,0.5,0.2)": FloatDistribution(0.1, 0.3, step=0.2),
    "augmentation=none,standard": CategoricalDistribution(["none", "standard"]),
    "optimizer.weight_decay=range(0,0.7,0.2)": FloatDistribution(0.0, 0.6, step=0.2),
    "optimizer.learning_rate=interval(1,5)": FloatDistribution(1.0, 5.0),
    "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))": FloatDistribution(1e-4, 1e-1, log=True),
    "training.batch_size=int(interval(8,64))": IntDistribution(8, 64),
    "training.batch_size=tag(log,int(interval(8,64)))": IntDistribution(8, 64, log=True),
}


@pytest.mark.parametrize("word", SPACES)
def test_a_sweep_is_a_distribution(word):
    assert distribution(word, sweeps([word])[word]) == SPACES[word]


def test_a_word_with_one_value_is_no_sweep():
    assert sweeps(["model=tiny", "seed=3", "data.augmentations=[flip,crop]", "seed=[", "~run"]) == {}


REFUSED = {
    "seed=0,1": "seed=0,1 is not allowed in a search, whose trials have one seed; give one value",
    "search.trials=1,2": "in a search, whose trials have one search.trials; give one value",
    "data.split_seed=0,1": "whose trials have one data.split_seed",
    "optimizer.learning_rate=tag(log,interval(0,1))": "give LOW below HIGH, and with tag(log,...) above 0",
    "optimizer.learning_rate=interval(2,1)": "interval(2,1) is not allowed; give LOW below HIGH",
}


@pytest.mark.parametrize("word", REFUSED)
def test_a_space_that_makes_no_sense_is_refused(word):
    with pytest.raises(ConfigError) as error:
        distribution(word, sweeps([word])[word])
    assert REFUSED[word] in str(error.value)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "search needs a key with several values; give for example"),
        (["model.depth=1,9"], "model.depth=9 is not allowed"),
        (["model=plain,tiny", "model.depth=1,2"], "there is no key model.depth; allowed in model: name"),
        (["model=plain,plane"], "model=plane is not allowed; give one of"),
        (["model.depth=range(3,1)"], "model.depth=range(3,1) holds no value to sweep over"),
        (["model.depth=1,2", "+study=depth"], "study is not allowed in a search; leave it out"),
        (
            ["model.depth=1,2", "distributed.mode=auto"],
            "distributed is not allowed in a search; leave it out",
        ),
        (
            ["model.depth=1,2", "debug.overfit_batch=8"],
            "debug.overfit_batch is not allowed in a search; leave it out",
        ),
        (["model.depth=1,2", "+study=augmentation"], "study is not allowed in a search; leave it out"),
        (["model.depth=1,2", "out=''"], "out= is not allowed; give the path of a folder"),
        (["model.depth=1,2", "-m"], "-m is not allowed with search, which always runs many trials"),
        (
            ["model.depth=1,2", "search.trials=0"],
            "search.trials=0 is not allowed; give a whole number, at least 1",
        ),
        (
            ["model.depth=1,2", "data.validation_fraction=0", "training.keep=last"],
            "data.validation_fraction=0 is not allowed in a search",
        ),
        (["model.dept=1,2"], "there is no key model.dept"),
        (["model.depth=1,2", "data.train_limit=9999"], "data.train_limit=9999"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(call, tmp_path, words, sentence):
    outcome = call("search.py", *words)
    assert outcome.code == 2
    assert sentence in outcome.err
    assert outcome.err.count("\n") == 1
    assert not list(tmp_path.rglob("*.json")) + list(tmp_path.rglob("*.yaml"))


def test_help_lists_the_keys(call):
    outcome = call("search.py", "model.depth=1,2", "--help")
    assert outcome.code == 0
    assert "search.trials=40" in outcome.out


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_of_8_trials_goes_on_and_is_reported(call, tmp_path):
    words = ["optimizer.learning_rate=tag(log,interval(1e-4,1e-1))", "model.depth=range(1,3)"]
    words += ["training.epochs=3", "data.train_limit=200", "out=found"]
    assert call("search.py", *words, "search.trials=3").code == 0
    outcome = call("search.py", *words, "search.trials=8")
    assert outcome.code == 0
    assert "[3/8]" not in outcome.out
    assert "[8/8] optimizer.learning_rate=" in outcome.out
    assert (
        "train it: cnn-research train training.epochs=3 data.train_limit=200 optimizer.learning"
        in outcome.out
    )
    runs = find_runs(tmp_path / "found")
    assert {run.status for run in runs} <= {"completed", "stopped"}
    assert all(run.outcome.test_accuracy is None for run in runs)
    report = call("report.py", "found")
    assert report.code == 0
    assert "best so far (%)" in report.out
    text = (tmp_path / "found" / "report.md").read_text()
    assert "| model.depth | 1 to 2 |" in text
    assert "search.svg" in text
    assert "'optimizer.learning_rate=tag(log,interval(1e-4,1e-1))'" in text.partition("### Command")[2]
