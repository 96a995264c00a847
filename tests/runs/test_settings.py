"""The settings of JAX: a run has its own, and leaves the user's as they were."""

import os
import warnings
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.config import config_states
from jax.experimental.compilation_cache import compilation_cache

from research.config import Config
from research.records import RecordError, find_runs, read_run
from research.runs import settings
from research.runs.program import forget_programs
from research.runs.provenance import xla_flags
from research.runs.run import evaluate, run
from research.runs.settings import PINNED, cache_settings, pinned_settings, run_settings, with_same_settings
from research.runs.worker import Worker
from research.studies.results import group_runs
from research.studies.study import Study
from research.sweeps.sweep import run_sweep
from research.training.callback import Callback
from research.training.checkpoint import CheckpointError

# settings that neither change a number of a run nor end it: messages, checks of JAX itself, places, caches,
# other processes, and functions that no network uses
OTHERS = """
jax_pallas_use_mosaic_gpu
check_vma eager_constant_folding jax2tf_associative_scan_reductions jax2tf_default_native_serialization
jax_array_garbage_collection_guard jax_auto_pcast jax_bcoo_cusparse_lowering
jax_captured_constants_report_frames jax_captured_constants_warn_bytes jax_check_static_indices
jax_check_tracer_leaks jax_compilation_cache_check_contents jax_compilation_cache_dir
jax_compilation_cache_expect_pgle jax_compilation_cache_include_metadata_in_key
jax_compilation_cache_max_size jax_cpu_collectives_implementation
jax_cpu_get_global_topology_timeout_minutes jax_cpu_get_local_topology_timeout_minutes
jax_debug_leaked_clients_on_clear_backends jax_debug_log_modules jax_disable_bwd_checks
jax_disable_vmap_shmap_error jax_disallow_mesh_context_manager jax_distributed_debug
jax_distributed_verify_secure_credentials jax_embedded_constants_max_bytes jax_enable_checks
jax_enable_compilation_cache jax_enable_preemption_service jax_enable_recoverability
jax_experimental_unsafe_xla_runtime_errors jax_explain_cache_misses jax_explicit_x64_dtypes
jax_export_calling_convention_version jax_export_deserialize_expired_versions
jax_export_ignore_forward_compatibility jax_hlo_source_file_canonicalization_regex
jax_include_full_tracebacks_in_locations jax_log_checkpoint_residuals jax_log_compiles jax_logging_level
jax_mosaic_allow_hlo jax_mosaic_unzip_debug_locations jax_mtls_ca_file jax_mtls_cert_file
jax_mtls_key_file jax_mtls_peer_uri_prefix jax_mutable_array_checks jax_num_cpu_devices
jax_pallas_auto_assign_collective_ids jax_pallas_auto_assign_collective_ids_limit
jax_pallas_enable_debug_checks jax_pallas_poison_buffers jax_persistent_cache_enable_xla_caches
jax_persistent_cache_min_compile_time_secs jax_persistent_cache_min_entry_size_bytes
jax_pgle_aggregation_percentile jax_pgle_profiling_runs jax_pjrt_client_create_options jax_platforms
jax_pprint_use_color jax_ragged_dot_use_gpu_pallas_triton_lowering
jax_ragged_dot_use_ragged_dot_instruction jax_raise_on_ppermute_sort_diff
jax_raise_persistent_cache_errors jax_refs_to_pins jax_remat_barrier_no_cotangents
jax_remove_custom_partitioning_ptr_from_cache_key jax_remove_size_one_mesh_axis_from_type
jax_send_traceback_to_runtime jax_serialization_version jax_share_binary_between_hosts
jax_share_binary_between_hosts_timeout_ms jax_source_url_schema jax_thread_guard jax_traceback_filtering
jax_traceback_in_locations_limit jax_transfer_guard jax_use_cpp_shard_args jax_use_emit_pipeline_primitive
jax_use_magma jax_use_rgv3 jax_use_simplified_jaxpr_constants jax_xla_profile_version
"""

ODD = {
    "jax_compiler_enable_remat_pass": False,
    "jax_debug_infs": True,
    "jax_debug_nans": True,
    "jax_default_matmul_precision": "bfloat16",
    "jax_default_prng_impl": "rbg",
    "jax_disable_jit": True,
    "jax_enable_x64": True,
    "jax_legacy_prng_key": "error",
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_optimization_level": "O0",
    "jax_random_seed_offset": 7,
    "jax_threefry_partitionable": False,
    "jax_transfer_guard": "disallow",
    "jax_use_shardy_partitioner": False,
}

SECONDS = "jax_persistent_cache_min_compile_time_secs"

VALUES = {
    "model": {"name": "tiny"},
    "data": {"train_limit": 140, "augmentations": ["flip"]},
    "training": {"epochs": 1, "xla_optimization_level": 0},
}


@pytest.fixture
def odd_settings():
    """The user has changed settings of JAX, for all threads."""
    before = {name: jax.config.values[name] for name in ODD}
    for name, value in ODD.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    run(Config.from_dict(VALUES), folder)
    return folder


def test_every_setting_of_jax_is_pinned_or_known_to_change_no_number():
    """A setting that a later version of JAX adds is in neither list."""
    assert config_states.keys() <= {*PINNED, *OTHERS.split()}
    assert not PINNED.keys() & {*OTHERS.split()}


@pytest.mark.usefixtures("odd_settings")
def test_the_user_s_settings_change_no_number_and_are_as_before_afterwards(finished, tmp_path):
    forget_programs()
    settings_before, environment = dict(jax.config.values), dict(os.environ)
    result = run(Config.from_dict(VALUES), tmp_path / "run")
    measured = evaluate(tmp_path / "run")
    study = Study("s", arms=["relu"], reference="relu", axis="model.activation", base=VALUES)
    study.run([0], tmp_path / "study")
    assert dict(jax.config.values) == settings_before
    assert dict(os.environ) == environment
    expected = read_run(finished)
    outcome = expected.outcome
    assert (measured["test_loss"], measured["test_accuracy"]) == (outcome.test_loss, outcome.test_accuracy)
    assert result.validation_loss == expected.outcome.validation_loss
    np.testing.assert_array_equal(
        read_run(tmp_path / "run").arrays()["test_logits"], expected.arrays()["test_logits"]
    )
    (other,) = find_runs(tmp_path / "study")
    assert other.outcome.test_loss == expected.outcome.test_loss


def test_several_runs_as_one_program_have_the_same_settings_in_every_thread():
    with jax.enable_x64(True), pinned_settings():
        read = with_same_settings(lambda: jnp.asarray(1.0).dtype)
    assert str(read()) == "float32"


@pytest.fixture
def cache_settings_of_the_user():
    """The settings of JAX's cache are as they are without the settings of the tests."""
    before = cache_settings()
    for name, value in (("jax_compilation_cache_dir", None), (SECONDS, 1.0)):
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.mark.usefixtures("cache_settings_of_the_user")
@pytest.mark.parametrize("how", ["jax.config", "environment", "none"])
def test_the_compilation_cache_is_in_the_user_s_folder(how, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "default"))
    chosen, default = tmp_path / "chosen", tmp_path / "default" / "cnn-research" / "jax"
    if how == "jax.config":
        jax.config.update("jax_compilation_cache_dir", str(chosen))
    if how == "environment":  # as Hydra sets it, after JAX has read the environment
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(chosen))
    used, unused = (default, chosen) if how == "none" else (chosen, default)

    def kept():
        return len(list(used.glob("*-cache")))

    with pinned_settings(), run_settings(), run_settings():
        jax.jit(lambda x: x + 1).lower(1).compile()
    assert kept() == 1
    assert not unused.exists()
    jax.jit(lambda x: x + 2).lower(1).compile()  # a small program of the user is not kept, as by JAX alone
    assert kept() == 1


@pytest.mark.usefixtures("cache_settings_of_the_user")
def test_the_user_s_own_programs_are_not_kept_where_the_user_has_no_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    jax.config.update(SECONDS, 0.0)
    with run_settings():
        jax.jit(lambda x: x + 3).lower(1).compile()
    jax.jit(lambda x: x + 4).lower(1).compile()
    assert len(list(tmp_path.rglob("*-cache"))) == 1


@pytest.mark.usefixtures("cache_settings_of_the_user")
@pytest.mark.parametrize("kind", ["file", "read-only"])
def test_a_folder_that_cannot_be_written_gives_a_warning_and_the_same_program(kind, tmp_path):
    if kind == "file":
        (tmp_path / "x").write_text("")
    tmp_path.chmod(0o500)
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "x"))
    with warnings.catch_warnings(), run_settings():
        warnings.simplefilter("ignore")
        assert jax.jit(lambda x: x + 5)(1) == 6


def test_a_user_who_turns_the_cache_off_or_chooses_its_threshold_is_obeyed():
    with config_states["jax_compilation_cache_dir"](""), run_settings():
        assert jax.config.values["jax_compilation_cache_dir"] == ""
    with config_states["jax_persistent_cache_min_compile_time_secs"](9.0), run_settings():
        assert jax.config.values["jax_persistent_cache_min_compile_time_secs"] == 9


def test_a_worker_has_the_cache_of_the_process_that_started_it(tmp_path):
    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    try:
        with Worker(lambda: None) as worker:
            assert worker.call(cache_settings) == cache_settings()
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


@pytest.mark.parametrize(("level", "expected"), [("1", [3, 3, 1]), ("0", []), ("3", [])])
def test_xla_is_quiet_during_a_run_only_and_unless_the_user_chose_a_level(monkeypatch, level, expected):
    levels = []
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level)
    monkeypatch.setattr(settings.utils, "absl_set_min_log_level", levels.append)
    with run_settings(), run_settings():
        pass
    assert levels == expected


class StopAtOnce(Callback):
    """Stops a run after its first step."""

    def on_steps(self, position, count):
        return "enough"


def test_a_run_is_not_resumed_evaluated_or_compared_with_other_flags_of_xla(finished, monkeypatch, tmp_path):
    config = Config.from_dict(VALUES)
    run(config, tmp_path / "stopped", [StopAtOnce()])
    before = read_run(finished).outcome.provenance["xla_flags"]
    neutral = f"--xla_dump_to={tmp_path} {before} --xla_force_host_platform_device_count=3"
    monkeypatch.setenv("XLA_FLAGS", neutral)
    assert evaluate(finished)["test_loss"] == read_run(finished).outcome.test_loss
    monkeypatch.setenv("XLA_FLAGS", f"{before} --xla_cpu_enable_fast_math=true")
    sentence = (
        r'was made with XLA_FLAGS=".*" and not with ".*fast_math=true", which can change numbers; give the'
    )
    with pytest.raises(RecordError, match=sentence):
        evaluate(finished)
    with pytest.raises(CheckpointError, match=sentence):
        run(config, tmp_path / "stopped", resume=True)
    with pytest.raises(RecordError, match=sentence):
        run_sweep({finished: config}, worker=False)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert xla_flags().endswith("fast_math=true NVIDIA_TF32_OVERRIDE=0")


def test_runs_of_different_flags_are_no_study(finished):
    first = read_run(finished)
    facts = {**first.outcome.provenance, "xla_flags": "--xla_cpu_enable_fast_math=true"}
    second = replace(first, path=finished / "second", result=replace(first.outcome, provenance=facts))
    with pytest.raises(
        RecordError, match=r"second was made with XLA_FLAGS=.*; give the same flags as for .*run"
    ):
        group_runs([first, second])
