"""Settings for all tests: eight CPU devices, annotations checked at run time, no home folder touched."""

import os
from pathlib import Path

import jax
import pytest
from beartype import BeartypeConf, BeartypeDecorPlace
from beartype.claw import beartype_package

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
conf = BeartypeConf(
    is_pep484_tower=True,
    # closest to the function, below jax.custom_vjp and its like
    claw_decor_place_func=BeartypeDecorPlace.FIRST,
    # jax rebuilds these NamedTuples with leaves of any kind
    claw_skip_package_names=("research.training.state",),
)
beartype_package("research", conf=conf)

REPOSITORY = Path(__file__).parents[1]


@pytest.hookimpl(tryfirst=True)  # before items are deselected by their marks
def pytest_collection_modifyitems(items):
    """The notebooks first, as they take longest; those that train longest are slow."""
    for item in items:
        if item.path.name.endswith(("_ablation.ipynb", "_sees.ipynb")):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: item.path.suffix != ".ipynb")


@pytest.fixture(scope="session", autouse=True)
def cache_home(tmp_path_factory):
    """One cache for what the tests run as a person would: each program is compiled once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


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
