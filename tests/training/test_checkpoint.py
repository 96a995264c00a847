import itertools
import resource
import time

import jax
import jax.numpy as jnp
import pytest

from research.training import checkpoint


@pytest.fixture
def tree():
    return {"params": {"conv": {"kernel": jnp.arange(6.0).reshape(2, 3)}}, "model_state": {}}


def test_what_is_saved_is_restored_to_the_bit(tree, tmp_path, assert_same):
    checkpoint.save(tmp_path / "final", tree)
    shapes = jax.eval_shape(lambda: tree)
    assert_same(tree, checkpoint.restore(tmp_path / "final", shapes))


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
