"""The geometric augmentations, to a pixel, against Pillow, SciPy and slices of NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from research.data.augmentation import AUGMENTATIONS
from research.data.augmentation.geometry import (
    affine,
    crop,
    flip,
    flip_vertical,
    perspective,
    resized_crop,
    rotate,
    shear,
    shift,
    zoom,
)
from research.data.augmentation.warp import (
    Sampling,
    Warp,
    affine_matrix,
    apply_group,
    corners_matrix,
    group_warps,
    multiply,
    rotation_matrix,
    shear_matrix,
    shift_matrix,
    warp,
    zoom_matrix,
)

pytestmark = pytest.mark.usefixtures("strict_types")

KEY = jax.random.key(3)
HEIGHT, WIDTH = 9, 12
IMAGE = np.random.default_rng(0).uniform(0, 255, (HEIGHT, WIDTH, 3)).astype(np.float32)

# SciPy's words for the borders
SCIPY = {"constant": "grid-constant", "edge": "nearest", "reflect": "mirror", "wrap": "grid-wrap"}

MATRICES = {
    "rotation": rotation_matrix(jnp.float32(33)),
    "shear": shear_matrix(jnp.float32(-20)),
    "zoom": zoom_matrix(jnp.float32(1.7)),
    "shrink": zoom_matrix(jnp.float32(0.6)),
    "shift": shift_matrix(2.3, -1.6),
    "corners": corners_matrix(jnp.float32([[-5, -4], [7, -5], [5, 4], [-6, 3]]), (HEIGHT, WIDTH)),
}


def positions(matrix):
    """The rows and columns at which a matrix reads the image, in float64."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    centred = np.stack([x - (WIDTH - 1) / 2, y - (HEIGHT - 1) / 2, np.ones_like(x)])
    u, v, w = np.einsum("ij,jyx->iyx", np.asarray(matrix, float), centred)
    return v / w + (HEIGHT - 1) / 2, u / w + (WIDTH - 1) / 2


@pytest.mark.parametrize("border", SCIPY)
@pytest.mark.parametrize("name", MATRICES)
def test_bilinear_sampling_equals_that_of_scipy(name, border):
    expected = [
        ndimage.map_coordinates(channel, positions(MATRICES[name]), order=1, mode=SCIPY[border], cval=7)
        for channel in np.moveaxis(IMAGE.astype(float), -1, 0)
    ]
    result = warp(jnp.asarray(IMAGE), MATRICES[name], Sampling("bilinear", border, 7.0))
    np.testing.assert_allclose(result, np.stack(expected, -1), atol=2e-3)


def pillow(matrix, kind, resample):
    """The image that Pillow makes of a matrix; Pillow measures from the corner of the first pixel."""
    half = affine_matrix(1, 0, WIDTH / 2, 0, 1, HEIGHT / 2)
    back = affine_matrix(1, 0, -WIDTH / 2, 0, 1, -HEIGHT / 2)
    whole = np.asarray(multiply(multiply(half, matrix), back), float)
    data = (whole / whole[2, 2]).ravel()[: 6 if kind == Image.Transform.AFFINE else 8]
    channels = [Image.fromarray(channel) for channel in np.moveaxis(IMAGE, -1, 0)]
    images = [channel.transform((WIDTH, HEIGHT), kind, data, resample) for channel in channels]
    return np.stack([np.asarray(image) for image in images], -1)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("name", MATRICES)
def test_a_matrix_moves_pixels_as_pillow_does(name, interpolation):
    kind = Image.Transform.PERSPECTIVE if name == "corners" else Image.Transform.AFFINE
    expected = pillow(MATRICES[name], kind, Image.Resampling[interpolation.upper()])
    result = np.asarray(warp(jnp.asarray(IMAGE), MATRICES[name], Sampling(interpolation)))
    rows, columns = positions(MATRICES[name])
    # at the border Pillow does not blend with the grey level outside
    inside = (rows >= 0) & (rows <= HEIGHT - 1) & (columns >= 0) & (columns <= WIDTH - 1)
    assert inside.sum() > 20
    np.testing.assert_allclose(result[inside], expected[inside], atol=0.05)


def test_a_positive_angle_turns_counter_clockwise_as_pillow_does():
    square = IMAGE[:, :9]
    result = warp(jnp.asarray(square), rotation_matrix(jnp.float32(90)), Sampling("nearest"))
    np.testing.assert_array_equal(result, np.rot90(square))


def test_the_upper_half_of_a_sheared_image_moves_right():
    image = np.zeros((5, 5, 1), np.float32)
    image[:, 2] = 9
    result = np.asarray(warp(jnp.asarray(image), shear_matrix(jnp.float32(45)), Sampling("nearest")))
    assert result[..., 0].argmax(1).tolist() == [4, 3, 2, 1, 0]


def test_corners_are_read_where_they_were_moved_to():
    points = np.array([[-5, -4], [7, -5], [5, 4], [-6, 3]], np.float32)
    matrix = np.asarray(corners_matrix(jnp.asarray(points), (HEIGHT, WIDTH)), float)
    corners = np.array([[-WIDTH, -HEIGHT], [WIDTH, -HEIGHT], [WIDTH, HEIGHT], [-WIDTH, HEIGHT]]) / 2
    u, v, w = matrix @ np.column_stack([corners, np.ones(4)]).T
    np.testing.assert_allclose(np.stack([u / w, v / w], 1), points, atol=1e-4)


NOTHING = {
    "shift": shift(share=0.0),
    "rotate": rotate(degrees=0.0),
    "zoom": zoom(factor=1.0),
    "shear": shear(degrees=0.0),
    "affine": affine(degrees=0.0, share=0.0, factor=1.0, shear_degrees=0.0),
    "resized_crop": resized_crop(scale=1.0, ratio=1.0),
    "crop": crop(padding=0),
}


@pytest.mark.parametrize("name", NOTHING)
def test_the_smallest_parameters_change_nothing(name):
    np.testing.assert_array_equal(NOTHING[name](KEY, jnp.asarray(IMAGE)), IMAGE)


def test_corners_that_stay_change_nothing_but_by_rounding():
    image = perspective(distortion=0.0, probability=1.0)(KEY, jnp.asarray(IMAGE))
    np.testing.assert_allclose(image, IMAGE, atol=1e-2)


def drawn(augmentation, count=300):
    """The matrices that an augmentation draws, in float64."""
    keys = jax.random.split(KEY, count)
    return np.asarray(jax.vmap(lambda key: augmentation.draw(key, (HEIGHT, WIDTH)))(keys), float)


def test_parameters_are_drawn_up_to_their_ends():
    angle = np.rad2deg(np.arctan2(*drawn(rotate(degrees=20.0))[:, 1, :2].T))
    assert -20 <= angle.min() < -19 < 19 < angle.max() <= 20
    factor = 1 / drawn(zoom(factor=2.0))[:, 0, 0]
    assert 0.5 <= factor.min() < 0.52 < 1.9 < factor.max() <= 2
    assert 0.9 < np.exp(np.log(factor).mean()) < 1.1
    slope = np.rad2deg(np.arctan(drawn(shear(degrees=30.0))[:, 0, 1]))
    assert -30 <= slope.min() < -29 < 29 < slope.max() <= 30
    moved = drawn(shift(share=0.25))[:, :2, 2]
    assert np.abs(moved).max(0) == pytest.approx([0.25 * WIDTH, 0.25 * HEIGHT], rel=0.02)


def test_a_resized_crop_reads_a_rectangle_of_the_image_alone():
    matrices = drawn(resized_crop(scale=0.3, ratio=2.0))
    wide, high = matrices[:, 0, 0], matrices[:, 1, 1]
    assert np.all(wide <= 1)
    assert np.all(high <= 1)
    uncut = (wide < 1) & (high < 1)
    area = (wide * high)[uncut]
    assert 0.3 <= area.min() < 0.33
    assert 0.5 <= (wide / high)[uncut].min() < 0.55 < 1.85 < (wide / high)[uncut].max() <= 2.001
    assert np.all(np.abs(matrices[:, 0, 2]) <= (1 - wide) * WIDTH / 2 + 1e-5)
    assert np.all(np.abs(matrices[:, 1, 2]) <= (1 - high) * HEIGHT / 2 + 1e-5)


@pytest.mark.parametrize("border", SCIPY)
def test_a_crop_reads_the_padded_image_of_numpy(border):
    values: dict = {"constant_values": 9} if border == "constant" else {}
    padded = np.pad(IMAGE, ((3, 3), (3, 3), (0, 0)), border, **values)
    windows = np.lib.stride_tricks.sliding_window_view(padded, IMAGE.shape)[:, :, 0]
    result = crop(padding=3, border=border, fill=9.0)(KEY, jnp.asarray(IMAGE))
    assert (windows == np.asarray(result)).all(axis=(-1, -2, -3)).sum() == 1


@pytest.mark.parametrize("name", ["flip", "flip_vertical", "crop"])
def test_the_matrix_does_what_moving_the_pixels_does(name):
    augmentation = AUGMENTATIONS[name]()
    for key in jax.random.split(KEY, 4):
        sampled = warp(jnp.asarray(IMAGE), augmentation.matrix(key, (HEIGHT, WIDTH)), Sampling())
        np.testing.assert_array_equal(augmentation(key, jnp.asarray(IMAGE)), sampled)


def apply(augmentations, image):
    for group in group_warps(augmentations):
        image = apply_group(group, KEY, image)
    return image


def test_augmentations_that_follow_each_other_are_sampled_once():
    turned = [rotate(degrees=90.0, border="wrap"), flip(probability=1.0), zoom(factor=1.5, border="wrap")]
    own = [jax.random.fold_in(KEY, index) for index in range(3)]
    matrix = rotation_matrix(0.0)
    for key, augmentation in zip(own, turned, strict=True):
        matrix = multiply(matrix, augmentation.matrix(key, (HEIGHT, WIDTH)))
    expected = warp(jnp.asarray(IMAGE), matrix, Sampling(border="wrap"))
    np.testing.assert_array_equal(apply(turned, jnp.asarray(IMAGE)), expected)


def test_the_first_augmentation_comes_first():
    square = IMAGE[:, :9]
    turn, mirror = Warp(lambda key, shape: rotation_matrix(90.0)), flip_vertical(probability=1.0)
    result = apply([turn, mirror], jnp.asarray(square))
    np.testing.assert_allclose(result, np.rot90(square)[::-1], atol=1e-3)
    result = apply([mirror, turn], jnp.asarray(square))
    np.testing.assert_allclose(result, np.rot90(square[::-1]), atol=1e-3)


def test_what_reads_the_image_in_another_way_is_sampled_apart():
    augmentations = [rotate(), shear(border="edge"), zoom(border="edge"), zoom(interpolation="nearest")]
    assert [len(group) for group in group_warps(augmentations)] == [1, 2, 1]


def test_whole_numbers_stay_whole_numbers():
    image = jnp.asarray(IMAGE.astype(np.uint8))
    result = rotate(degrees=30.0)(KEY, image)
    in_float = rotate(degrees=30.0)(KEY, image.astype(jnp.float32))
    np.testing.assert_array_equal(result, np.rint(in_float).astype(np.uint8))
