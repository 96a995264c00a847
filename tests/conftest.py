"""Settings for all tests: eight CPU devices, annotations checked at run time, no home folder touched.

Compiling is most of the time that the tests take, and two settings shorten it. XLA optimizes little, unless
the environment variable `CNN_TESTS_OPTIMIZE` is set, as `make test-all` does. And all processes of a run of
the tests, xdist's workers and the commands that the tests start, share one cache of compiled programs, which
is empty at the start of the run and removed at its end.
"""

import gc
import os
import re
import shutil
import tempfile
from functools import partial
from pathlib import Path

# the loader of compiled programs logs an error for each, about preferences of the compiler only
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Keras asks for its backend when it is imported, which the collection of doctests does
os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import pytest
from beartype import BeartypeConf, BeartypeDecorPlace
from beartype.claw import beartype_package
from jaxtyping import config as shape_checks
from jaxtyping import install_import_hook

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
conf = BeartypeConf(
    is_pep484_tower=True,
    # closest to the function, below jax.custom_vjp and its like
    claw_decor_place_func=BeartypeDecorPlace.FIRST,
    # jax rebuilds the NamedTuples of state with leaves of any kind; optax traces the rates of optimizers
    claw_skip_package_names=("research.training.state", "research.training.optimizers"),
)
beartype_package("research", conf=conf)
install_import_hook(
    ["research.ops", "research.layers"],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)

REPOSITORY = Path(__file__).parents[1]

# one module of LLVM for a program, not 32
QUICK = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
if jax.__version_info__ < (0, 11):  # later versions have no other way to make kernels
    QUICK += " --xla_cpu_use_fusion_emitters=false"

# extras that continuous integration does not install; a package of any other extra has to be there
LEFT_OUT = ("tensorflow", "hydra_plugins")
MISSING = re.compile("could not import|is not installed")

# what takes longest starts first, so that no worker is left alone with it at the end
LONGEST = (
    *(".ipynb", "test_preemption.py", "test_study.py", "test_multiprocess.py", "test_sweep.py"),
    *("test_train.py", "test_parity.py", "test_compare.py", "test_compare_frameworks.py"),
    "test_documentation.py",
)


def pytest_configure(config):
    """Set what the processes of this run share; xdist's workers inherit it through the environment."""
    gc.disable()  # until everything is imported; see pytest_collection_finish
    if not hasattr(config, "workerinput"):  # not a worker of xdist
        folder = tempfile.mkdtemp(prefix="cnn-research-tests-")
        config.add_cleanup(partial(shutil.rmtree, folder, ignore_errors=True))
        os.environ["XDG_CACHE_HOME"] = folder
        if not os.environ.get("CNN_TESTS_OPTIMIZE"):
            os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK}".strip()
    # the folder that `run_settings` takes
    programs = Path(os.environ["XDG_CACHE_HOME"]) / "cnn-research" / "jax"
    programs.mkdir(mode=0o700, parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(programs))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


# folders whose tests start processes, train whole runs or on several devices, or run other frameworks
INTEGRATION = ("integration", "cli", "benchmarks", "sweeps", "frameworks", "deploy", "runs", "parallel")


def is_integration(path: Path) -> bool:
    """Whether the path is in one of these folders of the tests, or of the package, which holds doctests."""
    folder = path.relative_to(REPOSITORY).parts[:2]
    return folder[0] in ("tests", "research") and folder[-1] in INTEGRATION


def pytest_ignore_collect(collection_path, config):
    """Import nothing from the folders of integration for `make unit`; it takes seconds."""
    ignored = "not integration" in config.option.markexpr and is_integration(collection_path)
    return True if ignored else None


def pytest_collection_finish():
    """Let the garbage collector leave out the modules and the tests, which stay until the process ends."""
    gc.enable()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)  # before items are deselected by their marks
def pytest_collection_modifyitems(items):
    """Put the longest tests first, and mark those of the folders of integration. Long notebooks are slow."""
    for item in items:
        if is_integration(item.path):
            item.add_marker(pytest.mark.integration)
        # unit tests call what the others call, and one notebook shows that a notebook runs
        if item.path.suffix == ".ipynb" and item.path.name != "01_convolution_two_ways.ipynb":
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: not item.path.name.endswith(LONGEST))


def refuse_missing_packages(report):
    """Turn a skip for a missing package into a failure, where the environment variable ``CI`` is set."""
    if report.skipped and os.environ.get("CI") and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if MISSING.search(reason) and not any(name in reason for name in LEFT_OUT):
            report.outcome, report.longrepr = "failed", f"CI is set, and no test may be skipped: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    return refuse_missing_packages((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    return refuse_missing_packages((yield))


@pytest.fixture(scope="session")
def tfds_dir() -> Path:
    """The folder of prepared TFDS datasets; tests that need real MNIST skip where there is none."""
    folder = Path(os.environ.get("TFDS_DATA_DIR", REPOSITORY.parent / "shared" / "tfds"))
    if not (folder / "mnist").is_dir():
        pytest.skip(f"no prepared MNIST in {folder}; set TFDS_DATA_DIR to a folder that has it")
    return folder


@pytest.fixture
def strict_types():
    """Strict dtype and rank promotion, as asked of all ops and layers."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def unchecked_shapes():
    """Ops and layers take what their annotations forbid, so that a test sees the errors that they raise."""
    shape_checks.update("jaxtyping_disable", True)
    yield
    shape_checks.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def run_with_batch_norm(tmp_path_factory) -> Path:
    """The folder of one small completed run with batch normalisation, which several tests share."""
    from research.config import Config  # only few tests need it
    from research.runs.run import run

    folder = tmp_path_factory.mktemp("batch_norm") / "run"
    values = {
        "model": {"name": "plain", "depth": 1, "widths": [4], "norm": "batch"},
        "data": {"train_limit": 64},
        "training": {"epochs": 1, "batch_size": 32, "tta": "flip"},
    }
    assert run(Config.from_dict(values), folder).status == "completed"
    return folder
