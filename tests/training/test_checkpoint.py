import itertools
import resource
import time

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from research.training import checkpoint
from research.utils.files import seal, sha256


@pytest.fixture
def tree():
    return {"params": {"conv": {"kernel": jnp.arange(6.0).reshape(2, 3)}}, "model_state": {}}


def test_what_is_saved_is_restored_to_the_bit(tree, tmp_path, assert_same):
    checkpoint.save(tmp_path / "final", tree)
    shapes = jax.eval_shape(lambda: tree)
    assert_same(tree, checkpoint.restore(tmp_path / "final", shapes))


def test_every_dtype_shape_and_kind_of_key_is_restored(tmp_path, assert_same):
    tree = {
        "scalar": jnp.int32(7),
        "empty": jnp.zeros((0, 3)),
        "brain": jnp.arange(5, dtype=jnp.bfloat16) / 3,
        "transposed": np.arange(6.0, dtype=np.float16).reshape(2, 3).T,
        "file": jnp.array([True, False]),
        "key": jax.random.key_data(jax.random.key(3)),
    }
    checkpoint.save(tmp_path / "final", tree)
    found = checkpoint.restore(tmp_path / "final", tree)
    assert_same(tree, found)
    assert {name: leaf.dtype for name, leaf in found.items()} == {n: leaf.dtype for n, leaf in tree.items()}
    key = {"key": jax.random.key(5)}
    checkpoint.save(tmp_path / "key", key)
    assert jax.random.key_data(checkpoint.restore(tmp_path / "key", key)["key"]).tolist() == [0, 5]


def test_a_checkpoint_that_orbax_wrote_is_read(tree, tmp_path, assert_same):
    folder = tmp_path / "final"
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
        arrays = {"params/conv/kernel": np.asarray(tree["params"]["conv"]["kernel"])}
        checkpointer.save(folder / "arrays", args=ocp.args.StandardSave(arrays))
    files = {str(path.relative_to(folder)): sha256(path) for path in folder.rglob("*") if path.is_file()}
    (folder / checkpoint.MANIFEST).write_text(seal({"format": 1, "meta": {"a": 1}, "files": files}))
    assert checkpoint.read_meta(folder) == {"a": 1}
    assert_same(tree, checkpoint.restore(folder, tree))
    wider = {"params": {"conv": {"kernel": jnp.zeros((2, 4))}}, "model_state": {}}
    with pytest.raises(
        checkpoint.CheckpointError, match=r"kernel is float32 \(2, 3\) there, float32 \(2, 4\)"
    ):
        checkpoint.restore(folder, wider)


def test_saving_again_replaces(tree, tmp_path, assert_same):
    checkpoint.save(tmp_path / "final", tree)
    other = jax.tree.map(lambda x: x + 1, tree)
    checkpoint.save(tmp_path / "final", other)
    assert_same(other, checkpoint.restore(tmp_path / "final", tree))


def test_another_network_is_named(tree, tmp_path):
    checkpoint.save(tmp_path / "final", tree)
    wider = {"params": {"conv": {"kernel": jnp.zeros((2, 4))}}, "model_state": {}}
    message = r"params/conv/kernel is float32 \(2, 3\) there, float32 \(2, 4\) here"
    with pytest.raises(checkpoint.CheckpointError, match=message):
        checkpoint.restore(tmp_path / "final", wider)
    more = {"params": tree["params"] | {"extra": jnp.zeros(1)}, "model_state": {}}
    with pytest.raises(checkpoint.CheckpointError, match=r"params/extra is absent there"):
        checkpoint.restore(tmp_path / "final", more)


def test_a_missing_one_is_named(tree, tmp_path):
    with pytest.raises(checkpoint.CheckpointError, match="there is no checkpoint"):
        checkpoint.restore(tmp_path / "final", tree)


def test_a_damaged_one_is_named(tree, tmp_path):
    checkpoint.save(tmp_path / "final", tree)
    for path in (tmp_path / "final").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(checkpoint.CheckpointError, match=r"manifest\.json is damaged"):
        checkpoint.restore(tmp_path / "final", tree)


def test_a_full_disk_is_one_short_sentence_and_what_was_there_stays(tree, tmp_path, assert_same, capfd):
    checkpoint.save(tmp_path / "final", tree)
    large = {f"kernel{i}": jnp.ones(1000) for i in range(20)}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(checkpoint.CheckpointError) as refused:
            checkpoint.save(tmp_path / "final", large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(refused.value) == f"{tmp_path / 'final'} cannot be written: File too large"
    assert capfd.readouterr() == ("", "")
    assert_same(tree, checkpoint.restore(tmp_path / "final", tree))
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


def test_a_clock_that_jumps_by_years_while_it_is_written_does_no_harm(
    tree, tmp_path, assert_same, monkeypatch
):
    jumps = itertools.cycle([0.0, 3e9, -1e9])
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    checkpoint.save(tmp_path / "final", tree)
    assert_same(tree, checkpoint.restore(tmp_path / "final", tree))
