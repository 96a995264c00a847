from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax import lax
from jax.test_util import check_grads

from research.ops import conv
from research.ops.conv import CONV_ALGORITHMS, choose_algorithm, chunks, conv2d, winograd_tiles
from research.ops.conv.lax_vjp import _make_conv
from research.ops.padding import conv_output_size, resolve_padding
from tests.ops.conv.reference import conv_reference
from tests.ops.sampling import every_pair, name, product, quick_jit

# what each algorithm is asked for; the others take everything
ONLY = {
    "fft": {"strides": [1]},
    "winograd2": {"kernel_size": [(3, 3)], "strides": [1]},
    "winograd4": {"kernel_size": [(3, 3)], "strides": [1]},
}
GENERAL = sorted(CONV_ALGORITHMS.keys() - ONLY.keys())
OPTIONS = {
    "batch": [1, 2],
    "size": [(9, 8), (12, 11)],
    "kernel_size": [(1, 1), (2, 2), (3, 3), (7, 7), (2, 3)],
    "strides": [1, 3, (1, 2)],
    "padding": ["SAME", "VALID", 2, ((0, 3), (1, 0))],
    "padding_mode": ["zeros", "reflect", "replicate", "circular"],
    "dilation": [1, 2, (3, 1)],
    "groups": [1, 2, 4],
}


@cache
def is_within(size, kernel_size, **options):
    """Whether the kernel lies within the padded image."""
    try:
        conv_output_size(size, kernel_size, **options)
    except ValueError:
        return False
    return True


def fits(case):
    """Whether the kernel of a case lies within its padded image."""
    return is_within(**{key: case[key] for key in ("size", "kernel_size", "strides", "padding", "dilation")})


def able(case):
    """The algorithms that do what the case asks for."""
    special = [a for a, only in ONLY.items() if all(case[key] in values for key, values in only.items())]
    return GENERAL + special


def pairs_of(algorithm):
    return every_pair(valid=fits, **{**OPTIONS, **ONLY[algorithm]})


PAIRS = [(GENERAL, case) for case in every_pair(valid=fits, **OPTIONS)]
PAIRS += [(["fft"], case) for case in pairs_of("fft")]
PAIRS += [(["winograd2", "winograd4"], case) for case in pairs_of("winograd2")]


def draw(rng, *shape):
    return rng.standard_normal(shape)


def check_against_numpy(algorithms, batch, size, kernel_size, **options):
    """Value and both gradients of the algorithms in float64."""
    rng = np.random.default_rng(0)
    x, kernel = draw(rng, batch, *size, 4), draw(rng, *kernel_size, 4 // options["groups"], 8)
    cotangent = draw(rng, *conv_reference(x, kernel, **options)[0].shape)
    expected = conv_reference(x, kernel, cotangent=cotangent, **options)

    @quick_jit
    def computed(x, kernel, cotangent):
        def values_and_gradients(algorithm):
            y, pullback = jax.vjp(lambda x, k: conv2d(x, k, algorithm=algorithm, **options), x, kernel)
            return y, *pullback(cotangent)

        return {algorithm: values_and_gradients(algorithm) for algorithm in algorithms}

    with jax.enable_x64(True):
        results = computed(*map(jnp.asarray, (x, kernel, cotangent)))
    for algorithm, result in results.items():
        for what, value, reference in zip(("y", "dx", "dkernel"), result, expected, strict=True):
            np.testing.assert_allclose(
                value, reference, rtol=1e-11, atol=1e-11, err_msg=f"{algorithm} {what}"
            )


@pytest.mark.parametrize(
    ("algorithms", "case"), PAIRS, ids=lambda value: name(value) if isinstance(value, dict) else value[0]
)
def test_every_pair_of_options_against_numpy(algorithms, case):
    check_against_numpy(algorithms, **case)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(9, 11), (12, 10)])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_all_options_against_numpy(size, kernel_size, strides, dilation):
    """The whole product: of paddings and groups in here."""
    cases = product(
        valid=fits,
        batch=[1],
        size=[size],
        kernel_size=[(kernel_size, kernel_size)],
        strides=[strides],
        padding=["SAME", "VALID", ((0, 3), (1, 0))],
        padding_mode=["zeros"],
        dilation=[dilation],
        groups=[1, 2, 4],
    )
    for case in cases:
        check_against_numpy(able(case), **case)


@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_same_padding_is_that_of_lax(strides, dilation):
    rng = np.random.default_rng(0)
    x, kernel = jnp.float32(draw(rng, 1, 11, 8, 2)), jnp.float32(draw(rng, 3, 2, 2, 3))
    y = conv2d(x, kernel, strides=strides, dilation=dilation, algorithm="im2col")
    expected = lax.conv_general_dilated(
        x, kernel, (strides,) * 2, "SAME", None, (dilation,) * 2, ("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("algorithm", CONV_ALGORITHMS)
def test_worked_examples(algorithm):
    convolve = quick_jit(partial(conv2d, padding="VALID", algorithm=algorithm))
    image = jnp.arange(1.0, 10.0).reshape(1, 3, 3, 1)
    if not algorithm.startswith("winograd"):
        y = convolve(image, jnp.eye(2).reshape(2, 2, 1, 1))
        np.testing.assert_allclose(y[0, :, :, 0], [[6, 8], [12, 14]], rtol=1e-6)

    rows = [
        [10, 20, 15, 25, 30],
        [40, 50, 60, 32, 18],
        [25, 33, 45, 60, 80],
        [15, 20, 30, 40, 50],
        [40, 30, 25, 15, 10],
    ]
    kernel = jnp.full((3, 3), -1.0).at[1, 1].set(8.0).reshape(3, 3, 1, 1)
    y = convolve(jnp.array(rows, jnp.float32).reshape(1, 5, 5, 1), kernel)
    assert y.shape == (1, 3, 3, 1)
    np.testing.assert_allclose(y[0, 0, 0, 0], 152, rtol=1e-5)


@pytest.mark.parametrize("algorithm", CONV_ALGORITHMS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dtype_stays(dtype, algorithm):
    rng = np.random.default_rng(0)
    x, kernel = jnp.asarray(draw(rng, 2, 6, 6, 4), dtype), jnp.asarray(draw(rng, 3, 3, 2, 6), dtype)
    options = {"strides": 1, "padding": "SAME", "padding_mode": "circular", "dilation": 1, "groups": 2}

    @quick_jit
    def computed(x, kernel):
        y, pullback = jax.vjp(lambda x, k: conv2d(x, k, algorithm=algorithm, **options), x, kernel)
        return y, *pullback(y)

    results = computed(x, kernel)
    expected = conv_reference(*map(np.float64, (x, kernel)), cotangent=np.float64(results[0]), **options)
    for value, reference in zip(results, expected, strict=True):
        assert value.dtype == dtype
        error = np.abs(np.float64(value) - reference).max() / np.abs(reference).max()
        assert error < {"float32": 1e-6, "bfloat16": 1e-2}[dtype]


@pytest.mark.parametrize("algorithm", CONV_ALGORITHMS)
def test_gradients_by_finite_differences(algorithm):
    rng = np.random.default_rng(0)
    strides = 1 if algorithm in ONLY else (1, 2)
    options = {"strides": strides, "groups": 2, "padding_mode": "reflect", "algorithm": algorithm}
    with jax.enable_x64(True):
        x, kernel = jnp.asarray(draw(rng, 1, 4, 5, 2)), jnp.asarray(draw(rng, 3, 3, 1, 2))
        check_grads(jax.jit(lambda x, k: conv2d(x, k, **options)), (x, kernel), order=2, modes=("rev",))


def loss(x, kernel, **options):
    return jnp.square(conv2d(x, kernel, **options)).sum()


@pytest.mark.parametrize(
    ("algorithm", "strides", "groups"),
    [
        ("auto", 1, 1),
        *(
            (algorithm, count, count)
            for algorithm in ("im2col", "lax_vjp", "onednn", "shifted")
            for count in (1, 2)
        ),
        ("winograd2", 1, 2),
        ("winograd4", 1, 1),
        ("winograd4", 1, 2),
    ],
)
def test_stays_a_dot_under_vmap_and_grad(groups, strides, algorithm):
    rng = np.random.default_rng(0)
    x, kernels = jnp.float32(draw(rng, 2, 6, 6, 4)), jnp.float32(draw(rng, 3, 3, 3, 4 // groups, 6))

    def gradients(kernel):
        return jax.grad(loss, (0, 1))(x, kernel, strides=strides, groups=groups, algorithm=algorithm)

    program = str(jax.make_jaxpr(jax.vmap(gradients))(kernels))
    assert "dot_general" in program
    assert "conv_general_dilated" not in program
    batches, singles = quick_jit(lambda ks: (jax.vmap(gradients)(ks), [gradients(k) for k in ks]))(kernels)
    for batched, *single in zip(batches, *singles, strict=True):
        expected = jnp.stack(single)
        np.testing.assert_allclose(batched, expected, rtol=1e-4, atol=1e-5 * float(jnp.abs(expected).max()))


def test_grouped_bfloat16_kernels_have_gradients_under_vmap():
    rng = np.random.default_rng(0)
    x, kernels = (jnp.asarray(draw(rng, *shape), "bfloat16") for shape in ((2, 5, 5, 4), (2, 3, 3, 2, 4)))
    gradient = jax.grad(partial(loss, algorithm="im2col", groups=2), 1)
    batch = quick_jit(jax.vmap(gradient, (None, 0)))(x, kernels)
    singles = jnp.stack([quick_jit(gradient)(x, kernel) for kernel in kernels])
    np.testing.assert_allclose(np.float32(batch), np.float32(singles), rtol=1e-2, atol=1e-2)


def test_pointwise_im2col_copies_nothing():
    x, kernel = jnp.ones((2, 5, 5, 4)), jnp.ones((1, 1, 4, 3))
    program = jax.make_jaxpr(lambda x, k: conv2d(x, k, algorithm="im2col"))(x, kernel)
    copies = {"concatenate", "gather", "pad"} & {equation.primitive.name for equation in program.eqns}
    assert not copies


def chosen(
    channels, features, kernel_size=3, dtype="float32", strides=1, dilation=1, groups=1, size=8, batch=32
):
    x = jnp.ones((batch, size, size, channels), dtype)
    kernel = jnp.ones((kernel_size, kernel_size, channels // groups, features), dtype)
    pads = resolve_padding("SAME", size, kernel_size, strides, dilation)
    return choose_algorithm(x, kernel, (strides, strides), pads, (dilation, dilation), groups)


@pytest.mark.parametrize("tile", winograd_tiles.TRANSFORMS)
def test_winograds_kernels_are_the_same_bits_compiled(tile):
    kernel = jnp.float32(draw(np.random.default_rng(0), 3, 3, 16, 32))
    kernels = winograd_tiles.transform_kernel(kernel, tile)
    compiled = jax.jit(winograd_tiles.transform_kernel, static_argnums=1)(kernel, tile)
    np.testing.assert_array_equal(compiled, kernels)
    matrix = np.array(winograd_tiles.TRANSFORMS[tile].kernel)
    expected = np.einsum("wc,hr,rcio->whio", matrix, matrix, np.float64(kernel))
    np.testing.assert_allclose(kernels, expected, rtol=0, atol=1e-6)


def test_a_gpu_takes_more_images_at_a_time(monkeypatch):
    assert chunks._chunk_size(512, 2**20) == 4
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert chunks._chunk_size(512, 2**20) == 512
    assert chunks._chunk_size(512, 2**23) == 128


@pytest.mark.parametrize(("is_fast", "other"), [(True, "lax_vjp"), (False, "im2col")])
def test_auto(is_fast, other, monkeypatch):
    monkeypatch.setattr(conv, "has_fast_kernel", lambda: is_fast)
    monkeypatch.setattr(conv, "has_onednn", lambda: False)
    assert chosen(48, 12) == chosen(32, 64, dilation=2) == chosen(64, 64, size=4, batch=64) == "winograd4"
    assert chosen(3, 64) == chosen(16, 32) == chosen(64, 64, size=4) == chosen(64, 64, size=3) == other
    assert chosen(32, 64, strides=2) == chosen(32, 64, 5) == other
    assert chosen(32, 64, 1) == chosen(32, 64, groups=2) == chosen(32, 64, dtype="bfloat16") == "im2col"
    assert chosen(8, 8, groups=8) == chosen(32, 64, groups=8, strides=2) == "depthwise"
    for backend in ("gpu", "tpu"):
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        assert chosen(32, 64) == "lax"


def test_auto_with_onednn(monkeypatch):
    monkeypatch.setattr(conv, "has_fast_kernel", lambda: True)
    monkeypatch.setattr(conv, "has_onednn", lambda: True)
    monkeypatch.setattr(conv, "ONEDNN_GROUPED_FLOPS", 2 * 32 * 8 * 8 * 9 * 16)
    monkeypatch.setattr(conv, "ONEDNN_FLOPS", 2 * 32 * 8 * 8 * 9 * 16 * 32)
    assert chosen(16, 32) == chosen(48, 12) == chosen(32, 64, 5) == "onednn"
    assert chosen(64, 64, groups=8) == chosen(16, 16, groups=16) == "onednn"
    assert chosen(16, 31) == chosen(16, 32, batch=31) == "lax_vjp"
    assert chosen(32, 32) == chosen(32, 64, dilation=2) == "winograd4"
    assert chosen(64, 64, 1) == chosen(64, 64, dtype="bfloat16") == "im2col"
    assert chosen(8, 8, groups=8) == "depthwise"


GEOMETRIES = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 3),
        "size": st.tuples(st.integers(1, 9), st.integers(1, 9)),
        "kernel_size": st.tuples(st.integers(1, 4), st.integers(1, 4)),
        "strides": st.integers(1, 3),
        "padding": st.one_of(
            st.sampled_from(["SAME", "VALID"]), st.tuples(*[st.tuples(*[st.integers(0, 5)] * 2)] * 2)
        ),
        "padding_mode": st.just("zeros"),
        "dilation": st.integers(1, 3),
        "groups": st.sampled_from([1, 2, 4]),
    }
)


@given(GEOMETRIES)
@settings(deadline=None, derandomize=True, max_examples=12)
def test_drawn_options_against_numpy(case):
    assume(fits(case))
    check_against_numpy(able(case), **case)


@pytest.mark.parametrize("algorithm", ["im2col", "lax_vjp", "onednn", "depthwise", "winograd2", "winograd4"])
def test_a_few_images_at_a_time_are_the_whole_batch(algorithm, monkeypatch):
    """Five images, two at a time: also where one is missing from the last two, and one more derivative."""
    rng = np.random.default_rng(0)
    x, kernel = jnp.float32(draw(rng, 5, 6, 6, 4)), jnp.float32(draw(rng, 3, 3, 4, 4))

    def gradients(x, kernel):
        return jax.grad(loss, (0, 1))(x, kernel, algorithm=algorithm)

    def both(x, kernel):
        return gradients(x, kernel), jax.grad(lambda k: jnp.square(gradients(x, k)[0]).sum())(kernel)

    whole = quick_jit(both)(x, kernel)
    monkeypatch.setattr(
        chunks, "CHUNK_BYTES", 2 * 6 * 6 * 36 * 4 if algorithm == "im2col" else 2 * 36 * 4 * 8 * 4
    )
    _make_conv.cache_clear()  # JAX 0.12 remembers the traces of the functions in it
    parts = quick_jit(lambda x, kernel: both(x, kernel))
    assert "while" in parts.lower(x, kernel).as_text()
    for a, b in zip(jax.tree.leaves(parts(x, kernel)), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * float(jnp.abs(b).max()))


def test_a_batch_of_little_more_than_a_chunk_needs_no_loop(monkeypatch):
    x, kernel = jax.ShapeDtypeStruct((6, 6, 6, 4), jnp.float32), jnp.ones((3, 3, 4, 4))
    image_bytes = 6 * 6 * 36 * 4
    for size, expected in ((4 * image_bytes, False), (4 * image_bytes - 1, True)):
        monkeypatch.setattr(chunks, "CHUNK_BYTES", size)
        lowered = jax.jit(lambda x: conv2d(x, kernel, algorithm="im2col")).lower(x)
        assert ("while" in lowered.as_text()) == expected


@pytest.mark.parametrize("algorithm", sorted(CONV_ALGORITHMS.keys() - {"fft"}))
def test_taps_that_meet_zeros_only_have_no_gradient(algorithm):
    rng = np.random.default_rng(0)
    x = jnp.zeros((8, 9, 9, 4)).at[:, 2, 1].set(draw(rng, 8, 4))
    dy = jnp.zeros((8, 9, 9, 4)).at[:, 1, 1].set(draw(rng, 8, 4)).at[:, 3, 3].set(draw(rng, 8, 4))
    _, vjp = jax.vjp(partial(conv2d, x, algorithm=algorithm), jnp.zeros((3, 3, 4, 4)))
    met = np.any(quick_jit(vjp)(dy)[0], axis=(2, 3))
    assert np.argwhere(met).tolist() == [[2, 1]]
