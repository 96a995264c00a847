"""Draw what each augmentation does to one image, with its default keywords.

Example:
    cnn-research show-augmentations photo.jpg --out augmentations.png
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from research.cli.arguments import Arguments
from research.cli.wrapper import exit_with_jax
from research.config import ConfigError
from research.data import AUGMENTATIONS
from research.data.augmentation import OF_IMAGES, cutmix, mixup
from research.data.decode import decode_image, resize_image
from research.studies.figures.style import canvas

IMAGE_SHAPE = (64, 64, 3)
"""The shape `(H, W, C)` of the image."""

COLUMNS = 6


def augmented(image: np.ndarray, partner: np.ndarray, key: jax.Array) -> dict[str, np.ndarray]:
    """Return the image after each augmentation, by the name of the augmentation.

    Args:
        image: the image, uint8 `[H, W, 3]`.
        partner: the image with which `mixup` and `cutmix` mix it, uint8 `[H, W, 3]`.
        key: the typed key.
    """
    keys = {name: jax.random.fold_in(key, index) for index, name in enumerate(AUGMENTATIONS)}
    images = {}
    for name, make in OF_IMAGES.items():
        images[name] = np.asarray(make(probability=1.0)(keys[name], jnp.asarray(image)))
    for name, mixing in (("mixup", mixup(alpha=8.0)), ("cutmix", cutmix())):
        weights = np.asarray(mixing(keys[name], *image.shape[:2]))
        images[name] = np.rint(weights * image + (1 - weights) * partner).astype(np.uint8)
    return images


def draw(images: dict[str, np.ndarray], path: Path) -> None:
    """Write a picture of the images with their names.

    Args:
        images: images `[H, W, 3]` by name.
        path: path of the picture; its suffix is its format.
    """
    rows = -(-len(images) // COLUMNS)
    with canvas(rows, COLUMNS, (1.3 * COLUMNS, 1.5 * rows)) as (figure, axes):
        for axis in axes.ravel():
            axis.axis("off")
        for axis, (name, image) in zip(axes.ravel(), images.items(), strict=False):
            axis.imshow(image, interpolation="nearest")
            axis.set_title(name, loc="center", fontsize=8)
        figure.savefig(path, dpi=100)


def command() -> int:
    """Draw the image on the command line, or a photograph of scikit-learn, after each augmentation."""
    parser = Arguments(__doc__)
    parser.add_argument("image", nargs="?", type=Path, metavar="IMAGE", help="image; without it, a flower")
    parser.add_argument("--out", type=Path, default=Path("augmentations.png"), help="path of the picture")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random numbers")
    arguments = parser.parse_args()
    if arguments.out.suffix not in (".png", ".svg", ".pdf"):
        raise ConfigError(
            f"--out={arguments.out} is not allowed; give a name that ends in .png, .svg or .pdf"
        )
    if not 0 <= arguments.seed < 2**32:
        raise ConfigError(f"--seed={arguments.seed} is not allowed; give a whole number from 0 to 4294967295")
    temple, image = (
        resize_image(Image.fromarray(sample), IMAGE_SHAPE) for sample in load_sample_images().images
    )
    if arguments.image is not None:
        try:
            image = decode_image(arguments.image, IMAGE_SHAPE)
        except ValueError as error:
            raise ConfigError(f"{arguments.image} is not allowed ({error}); give another file") from error
    images = augmented(image, temple, jax.random.key(arguments.seed))
    draw({"the image": image} | images, arguments.out)
    print(f"picture {arguments.out}")
    return 0


def main() -> None:
    """Run the command and exit."""
    exit_with_jax(command)
