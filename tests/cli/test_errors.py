"""Bad input gives one sentence that names the key, the value and what is allowed, and exit code 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import SCRIPTS

MISTAKES = {
    "misspelt group": (
        ["trainig.epochs=2"],
        "there is no key trainig (did you mean training?); allowed: seed",
    ),
    "misspelt key": (
        ["model.dept=3"],
        "there is no key model.dept (did you mean depth?); allowed in model: name",
    ),
    "key of another model": (
        ["model=tiny", "model.depth=2"],
        "there is no key model.depth; allowed in model:",
    ),
    "key of one model of a sweep": (
        ["-m", "model=plain,tiny", "model.depth=2"],
        "there is no key model.depth; allowed in model: name, widths",
    ),
    "model": (["model=plane"], "model=plane is not allowed; give one of classic, conv_pair, mlp,"),
    "optimizer": (
        ["optimizer=adm"],
        "optimizer=adm is not allowed; give one of adagrad, adam, adamax, adamw,",
    ),
    "a list of names": (
        ["logging=[tensorboard,mlflow]"],
        "logging=[tensorboard,mlflow] is not allowed; give one of all,",
    ),
    "a mapping for a list": (
        ["optimizer.groups={match: logits}"],
        "optimizer.groups={match: logits} is not allowed; give a list",
    ),
    "a list for a mapping": (["training=[3]"], "training=[3] is not allowed; give a mapping"),
    "plateau without validation": (
        ["schedule=plateau", "data.validation_fraction=0"],
        "schedule=plateau is not allowed with data.validation_fraction=0, which leaves no image to validate",
    ),
    "schedule": (["schedule=cos"], "schedule=cos is not allowed; give one of constant, cosine,"),
    "dataset": (["data=minst"], "data=minst is not allowed; give one of cifar10, cifar100, cifar10_1,"),
    "study": (
        ["-m", "+study=deep"],
        "study=deep is not allowed; give one of activation, architecture, augmentation,",
    ),
    "a pattern without a run": (
        ["init_from.match=conv1"],
        "init_from.match and init_from.head need init_from; give init_from=FOLDER",
    ),
    "tuning without -m": (
        ["+study=optimizer"],
        "study.tuning is only allowed in a sweep on this machine; give -m",
    ),
    "large batch": (
        ["training.batch_size=5000"],
        "training.batch_size=5000 is not allowed; give at most the 1294",
    ),
    "dataset by its key": (["data.name=minst"], "data.name=minst is not allowed; give one of cifar10,"),
    "an empty sweep": (["-m", "seed=range(0)"], "seed=range(0) holds no value to sweep over; give a range"),
    "a sweep down": (["-m", "seed=range(8,0)"], "seed=range(8,0) holds no value to sweep over; give a range"),
    "a sweep without a step": (["-m", "seed=range(0,8,0)"], "seed=range(0,8,0) holds no value to sweep over"),
    "a sorted sweep": (["-m", "seed=sort(range(8,0))"], "seed=sort(range(8,0)) holds no value to sweep over"),
    "no name to sweep over": (["-m", "model=glob(zz*)"], "model=glob(zz*) holds no value to sweep over"),
    "an empty sweep by a key of Hydra": (
        ["-m", "+hydra.sweeper.params.seed='range(8,0)'"],
        "seed=range(8,0) holds no value to sweep over",
    ),
    "an unclear flag": (["--con", "x"], "ambiguous option: --con"),
    "folder of a run by Hydra": (
        ["hydra.run.dir=x"],
        "hydra.run.dir=x is not allowed: give run=FOLDER instead",
    ),
    "folder of a run by Hydra in a sweep": (
        ["-m", "++hydra={run:{dir:x}}"],
        "hydra.run.dir=x is not allowed:",
    ),
    "folder of a job": (
        ["-m", "hydra.sweep.subdir=x"],
        "hydra.sweep.subdir=x is not allowed: the folder of a",
    ),
    "folder of Hydra's files": (
        ["hydra.output_subdir=x"],
        "hydra.output_subdir=x is not allowed: config.yaml in",
    ),
    "change of the folder": (["hydra.job.chdir=true"], "hydra.job.chdir=True is not allowed: relative paths"),
    "folder of Hydra's own": (
        ["hydra.runtime.output_dir=x"],
        "hydra.runtime.output_dir=x is not allowed: Hydra",
    ),
    "folder of a sweep without -m": (
        ["hydra.sweep.dir=x"],
        "hydra.sweep.dir is only allowed with -m; give run,",
    ),
    "folder of a run in a sweep": (
        ["-m", "run=x"],
        "run is not allowed with -m, because it is for one run; give",
    ),
    "an arm that the study has not": (
        ["-m", "+study=depth", "study.reference='depth 9'"],
        "study.reference=depth 9 is not allowed; give one of depth 1, depth 2, depth 3, depth 4",
    ),
    "a sweep without the reference arm": (
        ["-m", "+study=depth", "model.depth=3,4"],
        "study.reference=depth 2 is not allowed, because the sweep has no run of it; add that arm to "
        "the sweep, or give one of depth 3, depth 4",
    ),
    "an arm that the study does not list": (
        ["-m", "+study=depth", "model.depth=2,3", "study.arms=[depth 1,depth 2]"],
        "study.arm=depth 3 is not allowed, because study.arms is [depth 1, depth 2]; add it to study.arms",
    ),
    "epochs of a run that was continued": (["training.continued_from=[2]"], "training.continued_from is not"),
    "study of another model": (
        ["+study=depth", "model=tiny"],
        "study.arm refers to the key model.depth, which this configuration does not have",
    ),
    "key that is not there": (
        ["run=${oc.env:NO_SUCH_VARIABLE}"],
        "run cannot be resolved: KeyError raised while resolving interpolation",
    ),
    "sweep without -m": (["seed=range(0,3)"], "'seed=range(0,3)' requires --multirun"),
    "data folder": (
        ["data=mnist", "data.dir=/nowhere"],
        "mnist is not in /nowhere; run: cnn-research prepare-data",
    ),
    "output folder": (["run=/proc/x"], "run=/proc/x cannot be written"),
    "sweep without its data": (
        ["-m", "data=mnist", "data.dir=/nowhere"],
        "mnist is not in /nowhere; run: cnn-research",
    ),
    "images without a size": (
        ["data=folder", "data.path=."],
        "data=folder needs data.image_size, the height and the width to which images are resized; give data",
    ),
    "images without a path": (
        ["data=folder", "data.image_size=[8,8]"],
        "data=folder needs data.path, the path of your images; give data.path=PATH",
    ),
    "no images": (
        ["data=folder", "data.image_size=[8,8]", "data.path=nowhere (1),b"],
        "data.path=nowhere (1),b does not exist; give a folder with a folder for each class, or a CSV file",
    ),
    "one side": (
        ["data=folder", "data.path=.", "data.image_size=[8]"],
        "data.image_size=[8] is not allowed; give the height and the width, such as [64,64]",
    ),
    "two channels": (
        ["data=folder", "data.path=.", "data.image_size=[8,8]", "data.channels=2"],
        "data.channels=2 is not allowed; give 1 or 3",
    ),
    "a path of a dataset": (
        ["data=mnist", "data.path=x"],
        "data.path=x is not allowed with data.source=table; give data=folder or data=npz, or leave it out",
    ),
    "a dataset of TFDS without a name": (
        ["data=tfds"],
        "data=tfds needs data.name, the name of a prepared dataset; give data.name=NAME",
    ),
    "a dataset of TFDS that is not there": (
        ["data=tfds", "data.name=x", "data.dir=/nowhere"],
        "data.name=x is not in /nowhere; prepare it with tensorflow-datasets in the format array_record, or",
    ),
    "no npz file": (["data=npz", "data.path=x.npz"], "data.path=x.npz does not exist; give an npz file"),
    "large limit": (["data.train_limit=9999"], "data.train_limit=9999; allowed: 1 to 1294 for digits"),
    "syntax": (["seed=["], "seed=["),
    "group by a number": (
        ["optimizer=32"],
        "optimizer=32 is not allowed; give one of adagrad, adam, adamax, adamw,",
    ),
    "run by a number": (["run=97"], "run=97 is not allowed; give the path of a folder, such as ./97"),
    "run without a path": (["run="], "run= is not allowed; give the path of a folder"),
    "no run": (["~run"], "run=null is not allowed; give the path of a folder"),
    "run in no letters": (["run=\udcff"], r"run=\udcff"),
    "text in no letters": (["data.dir=\udcff"], r"data.dir=\udcff"),
    "resume": (["resume=maybe"], "resume=maybe is not allowed; give true or false"),
    "a very long value": (
        [f"model.activation={'x' * 100_000}"],
        "xx is not allowed; give one of elu,",
    ),
    "a step number too large": (
        ["training.epochs=1000000000000"],
        "training.epochs=1000000000000 is not allowed; give at most 107374182, at 20 steps an epoch",
    ),
    "a network too large": (
        ["model=mlp", "model.hidden=[1000000,1000000]"],
        "model=mlp has 1,000,076,000,010 parameters here, whose training takes 16,001 GB; this machine has",
    ),
    "flag": (["--blub"], "there is no flag --blub; --help lists the keys and flags"),
    "value of a flag": (["--cfg=blub"], "argument --cfg/-c: invalid choice: 'blub' (choose from"),
    "flag after a key": (["seed=1", "-m", "seed=2"], "seed=2 stands after a flag; give the flags before"),
    "nothing to train on": (["data.test_fraction=0.9999"], "test_fraction=0.9999 leaves too few examples of"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_and_exit_code_2(call, mistake):
    arguments, sentence = MISTAKES[mistake]
    outcome = call("train.py", *arguments)
    assert outcome.code == 2
    assert sentence in outcome.err
    assert outcome.err.startswith("train.py: ")
    assert outcome.err.count("\n") == 1
    assert len(outcome.err) < 1000
    assert outcome.out == ""


def test_folders_that_are_refused_are_not_made(call, tmp_path):
    for words in (["hydra.run.dir=x"], ["-m", "hydra.sweep.subdir=x"], ["hydra.output_subdir=x"]):
        assert call("train.py", *words).code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_value_in_a_sweep_stops_it_before_the_first_run(call, tmp_path):
    outcome = call("train.py", "-m", "model.depth=1,2,9", "hydra.sweep.dir=sweep")
    assert outcome.code == 2
    assert "model.depth=9 is not allowed" in outcome.err
    assert not list(tmp_path.rglob("config.yaml"))


@pytest.mark.parametrize(
    ("script", "arguments", "sentence"),
    [
        (
            "evaluate.py",
            [],
            "the following arguments are required: RUN; call evaluate.py [-h] [--tta TTA] [--data DATA] ",
        ),
        (
            "evaluate.py",
            ["x", "--tta=twice"],
            "--tta=twice is not allowed; give one of flip, flip_shift, none",
        ),
        ("train.py", ["augmentation=weak"], "augmentation=weak is not allowed; give one of mnist, none,"),
        (
            "train.py",
            ["data.augmentations=[flip,hue]"],
            "data.augmentations=hue is not allowed for images with 1 channel, since it changes colours",
        ),
        ("show_augmentations.py", ["nowhere.jpg"], "nowhere.jpg: No such file or directory"),
        (
            "show_augmentations.py",
            ["--out=x.doc"],
            "--out=x.doc is not allowed; give a name that ends in .png,",
        ),
        ("show_augmentations.py", ["--seed=-1"], "--seed=-1 is not allowed; give a whole number from 0"),
        ("evaluate.py", ["nowhere"], "nowhere is not a run: it holds no config.yaml"),
        ("inspect_model.py", ["format=xml"], "format=xml is not allowed; give one of json, table"),
        ("inspect_model.py", ["model.depth=9"], "model.depth=9 is not allowed"),
        ("prepare_data.py", ["data=mnits"], "data=mnits is not allowed; give one of"),
        ("prepare_data.py", ["data=digits"], "digits"),
        ("prepare_data.py", ["data=mnist", "mirror=5"], "mirror=5 is not allowed; give an address"),
        ("report.py", ["nowhere"], "there is no folder nowhere"),
        ("profile_model.py", ["rounds=1"], "rounds=1 is not allowed; give a whole number, at least 2"),
        (
            "find_learning_rate.py",
            ["lowest=1", "highest=1"],
            "lowest=1.0 is not allowed; give a number below",
        ),
        ("find_batch_size.py", ["training.batch_size=5000"], "give at most the 1294 training examples"),
        ("check_gradients.py", ["model=plain", "model.depth=9"], "model.depth=9 is not allowed; give"),
        ("inspect_model.py", ["hydra.run.dir=x"], "hydra.run.dir=x is not allowed: leave it out"),
        ("benchmark_conv.py", ["hydra.run.dir=x"], "hydra.run.dir=x is not allowed: give out=FOLDER instead"),
        (
            "prepare_data.py",
            ["data.dir=x", "mirror=file:///no"],
            "file:///no/t10k-images-idx3-ubyte.gz cannot be",
        ),
        ("benchmark_conv.py", ["out=5"], "out=5 is not allowed; give the path of a folder, such as ./5"),
        ("train.py", ["parallel=auto", "parallel.mesh.model=100000"], "is not allowed; there are"),
        (
            "evaluate.py",
            ["run=outputs/x"],
            "run=outputs/x is not allowed; give the folder alone: evaluate.py outputs/x",
        ),
        ("compare_frameworks.py", ["frameworks=[]"], "frameworks=[] is not allowed; give at least one name"),
        ("report.py", [], "the following arguments are required: FOLDER"),
        ("report.py", ["x", "--out="], "--out= is not allowed; give the path of a folder"),
        ("benchmark_train.py", ["replicas=[8]"], "replicas is now runs_per_program; give that key instead"),
        ("sweep_status.py", ["a", "b"], "unrecognized arguments: b"),
    ],
)
def test_the_other_scripts_say_it_the_same_way(call, script, arguments, sentence):
    outcome = call(script, *arguments)
    assert outcome.code == 2
    assert sentence in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    "script", ["train.py", "evaluate.py", "inspect_model.py", "prepare_data.py", "report.py"]
)
def test_help_reads_well(call, script):
    outcome = call(script, "--help")
    assert outcome.code == 0
    assert "Traceback" not in outcome.err
    assert len(outcome.out.splitlines()) > 5


@pytest.mark.parametrize("platforms", ["abacus", "cuda"])
def test_a_device_that_is_not_there_is_one_sentence(tmp_path, platforms):
    """Of a process of its own, as JAX has started in this one."""
    command = [sys.executable, str(SCRIPTS / "train.py")]
    ended = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "JAX_PLATFORMS": platforms}, capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert f"JAX_PLATFORMS={platforms} is not allowed" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full is needed")
def test_what_cannot_be_printed_is_one_sentence():
    with open("/dev/full", "w") as full:
        command = [
            sys.executable,
            "-c",
            "from research.cli.exit import exit_with; exit_with(lambda: print(1) or 0)",
        ]
        buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
        ended = subprocess.run(
            command, cwd=SCRIPTS, env=buffered, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ended.returncode == 1
    assert ended.stderr == "-c: the output is not complete: No space left on device\n"


PRINT = "from research.cli.exit import exit_with; exit_with(lambda: print('— ä', flush=True) or {code})"


@pytest.mark.parametrize(
    ("command", "code", "out"),
    [
        ('PYTHONIOENCODING=latin-1 "$@"', 0, b"\\u2014 \xe4\n"),
        ('"$@" >&-', 0, b""),
        ('"$@" >&- 2>&- <&-', 1, b""),
        ('("$@"; echo $? >&2) | true', 0, b""),
    ],
)
def test_the_exit_code_is_that_of_the_work_whatever_the_terminal(command, code, out):
    words = [sys.executable, "-c", PRINT.format(code=code)]
    ended = subprocess.run(["sh", "-c", command, "sh", *words], cwd=SCRIPTS, capture_output=True)
    piped = "echo" in command
    assert (0 if piped else ended.returncode, ended.stdout) == (code, out), ended.stderr
    assert ended.stderr == (b"0\n" if piped else b"")


def test_info_prints_each_line_once(tmp_path):
    command = [sys.executable, str(SCRIPTS / "train.py"), "--info", "config"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.count("Config search path") == 1
