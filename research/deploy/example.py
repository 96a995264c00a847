"""Predict the classes of image files with the network in model.onnx, which lies beside this file.

It needs onnxruntime, numpy and Pillow only. Call: python example.py photo.jpg ...
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

from research.data.decode import decode_image


def main(paths: list[str]) -> int:
    """Print the most probable class of each image and its probability, and return the exit code."""
    session = onnxruntime.InferenceSession(Path(__file__).with_name("model.onnx"))
    metadata = session.get_modelmeta().custom_metadata_map
    class_names = json.loads(metadata["class_names"])
    code = 0
    for path in paths:
        try:
            image = decode_image(path, tuple(json.loads(metadata["image_shape"])), metadata["resizing"])
        except (ValueError, OSError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            code = 1
            continue
        images = image[np.newaxis]  # the model takes any number of images
        logits = np.asarray(session.run(["logits"], {"images": images})[0])[0]
        probabilities = np.exp(logits - logits.max())
        probabilities /= probabilities.sum()
        label = int(probabilities.argmax())
        print(f"{path}  {class_names[label]}  {probabilities[label]:.4f}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
