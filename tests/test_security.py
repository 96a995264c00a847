"""What the code never does, read from its syntax, and what it does not trust."""

import ast
import io
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from research.cli.keys import choice_rows
from research.config import CHOICES
from research.records.npz import read_npz
from research.runs.settings import run_settings

CONFIG: Any = jax.config
REPOSITORY = Path(__file__).parents[1]
SOURCES = sorted(path for part in ("research", "scripts") for path in (REPOSITORY / part).rglob("*.py"))

MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "pty", "commands"}
CALLS = {
    *("eval", "exec", "compile", "__import__"),
    *("os.system", "os.popen", "os.execv", "os.execvp", "os.spawnv"),
    *("subprocess.getoutput", "subprocess.getstatusoutput"),
    *("yaml.load", "yaml.full_load", "yaml.unsafe_load", "yaml.load_all"),
    *("torch.load", "jsonpickle.decode", "hydra.utils.instantiate", "instantiate"),
    *("shutil.unpack_archive",),
}
METHODS = {"extractall", "extract", "loads_pickle"}


def violations(tree: ast.AST) -> list[str]:
    """What of a file is not allowed."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            found += [name for name in names if name.partition(".")[0] in MODULES]
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            found += [name] if name in CALLS or name.rpartition(".")[2] in METHODS else []
            arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            found += ["shell"] if arguments.get("shell", "False") != "False" else []
            if name in ("np.load", "np.save", "np.savez", "np.savez_compressed"):
                found += (
                    [] if arguments.get("allow_pickle") == "False" else [f"{name} without allow_pickle=False"]
                )
            if (
                name == "subprocess.run"
                and node.args
                and isinstance(node.args[0], ast.Constant | ast.JoinedStr)
            ):
                found.append("a command that is one text")
        elif isinstance(node, ast.Constant) and node.value == "_target_":
            found.append("_target_")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_file_unpickles_evaluates_extracts_or_starts_a_shell(path):
    assert violations(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "eval('1')",
        "os.system('ls')",
        "subprocess.run(['ls'], shell=True)",
        "subprocess.run(f'ls {x}')",
        "yaml.load(text)",
        "archive.extractall(folder)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "x['_target_']",
    ],
)
def test_each_of_these_would_be_found(code):
    assert violations(ast.parse(code))


def test_no_configuration_names_an_object_to_call():
    files = list((REPOSITORY / "conf").rglob("*.yaml"))
    assert len(files) > 5
    assert not [path for path in files if "_target_" in path.read_text(encoding="utf-8")]
    keys = [row.key for group in CHOICES for rows in choice_rows(group).values() for row in rows]
    assert len(keys) > 100
    assert not [key for key in keys if key.endswith("_target_")]


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """The folder that compiled programs would be kept in."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = CONFIG.jax_compilation_cache_dir
    CONFIG.update("jax_compilation_cache_dir", None)
    yield tmp_path / "cnn-research" / "jax"
    CONFIG.update("jax_compilation_cache_dir", before)


def test_the_compilation_cache_is_private(cache):
    previous = os.umask(0)
    try:
        with run_settings():
            found = CONFIG.jax_compilation_cache_dir
    finally:
        os.umask(previous)
    assert found == str(cache)
    assert cache.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o722])
def test_a_compilation_cache_that_others_can_write_is_not_used(cache, mode):
    cache.mkdir(parents=True)
    cache.chmod(mode)
    message = f"not kept in {cache}, which others can write"
    with pytest.warns(RuntimeWarning, match=message) as warned, run_settings():
        assert CONFIG.jax_compilation_cache_dir is None
    assert len(warned) == 1


def test_a_compilation_cache_of_someone_else_is_not_used(cache, monkeypatch):
    cache.mkdir(parents=True, mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: cache.stat().st_uid + 1)
    with pytest.warns(RuntimeWarning, match="which others can write"), run_settings():
        assert CONFIG.jax_compilation_cache_dir is None


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=True, **arrays)
    return file.getvalue()


def test_arrays_are_read_as_they_were_written():
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b/c": np.array(7), "d": np.zeros((0, 3), np.int8)}
    found = read_npz(npz(**arrays))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_pickled_objects_are_refused():
    with pytest.raises(ValueError, match=r"a\.npy claims object|Object arrays cannot be loaded"):
        read_npz(npz(a=np.array([{"x": 1}])))
