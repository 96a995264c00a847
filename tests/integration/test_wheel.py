"""What `pip install` of the package gives in an empty folder, without a checkout beside it."""

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("pip") is None or find_spec("setuptools") is None,
        reason="pip or setuptools is not installed",
    ),
]


def call(*command: object, folder: Path) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    for name in ("research", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    options = ("--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", folder / "wheels")
    call(sys.executable, "-m", "pip", "wheel", *options, ".", folder=folder)
    return next((folder / "wheels").glob("*.whl"))


@pytest.fixture(scope="module")
def program(wheel, tmp_path_factory):
    """The installed program, in a virtual environment that finds all other packages in this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    options = ("--no-deps", "--no-index")
    call(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel, folder=folder)
    paths = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", paths))
    others = [path for path in sys.path if Path(path).name == "site-packages"]
    (packages / "others.pth").write_text("\n".join(others) + "\n")
    return folder / "bin" / "cnn-research"


def test_the_wheel_holds_one_package_with_its_configuration(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"research"}
    files = {path.relative_to(ROOT / "conf").as_posix() for path in (ROOT / "conf").rglob("*.yaml")}
    assert files <= {name.removeprefix("research/conf/") for name in names}
    assert "research/py.typed" in names
    assert any(name.endswith(".jinja") for name in names)


def test_it_trains_evaluates_and_reports_in_an_empty_folder(program, tmp_path):
    assert "understand:" in call(program, "--help", folder=tmp_path)
    small = ("model=tiny", "training.epochs=1", "data.train_limit=128", "training.batch_size=32")
    assert "test accuracy" in call(program, "train", *small, "run=one", folder=tmp_path)
    assert "test accuracy" in call(program, "evaluate", "one", folder=tmp_path)
    study = ("-m", "+study=depth", "model=plain", "model.depth=1,2", *small[1:], "hydra.sweep.dir=depth")
    call(program, "train", *study, folder=tmp_path)
    assert "depth 2" in call(program, "report", "depth", folder=tmp_path)
    assert "2 completed" in call(program, "sweep-status", "depth", folder=tmp_path)
    assert "total" in call(program, "inspect-model", "model=tiny", folder=tmp_path)
    found = call(
        program.parent / "python", "-c", "import research; print(research.__file__)", folder=tmp_path
    )
    assert str(program.parent.parent) in found
