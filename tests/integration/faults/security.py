"""Files and names from strangers: too large by what they claim, or written to be run."""

import contextlib
import html.parser
import io
import json
import random
import re
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from research import records
from research.data import DATASETS, DataError
from research.data.folder import FolderBuilder
from research.data.source import folder_of, read_folder
from research.records.npz import MAX_BYTES
from research.studies.report import html as html_report
from research.studies.report import write as report
from research.training import checkpoint
from research.training.checkpoint import CheckpointError
from research.utils.files import seal, sha256

MNIST = DATASETS["mnist"]


def image_bomb(rng: random.Random, folder: Path) -> None:
    """A small file whose header claims a huge image is refused, and its record named."""
    width, height = (int(10 ** rng.uniform(1.5, 4.8)) for _ in range(2))
    claim = png_that_claims if rng.random() < 0.5 else jpeg_that_claims
    examples = {
        "train": [{"image": claim(28, 28), "label": 1}, {"image": claim(width, height), "label": 2}],
        "test": [{"image": claim(28, 28), "label": 1}],
    }
    write_examples(examples, folder)
    with pytest.raises(DataError, match=r"^record 1 of .*train.* is not of mnist: its image "):
        read_folder("mnist", MNIST, folder_of("mnist", MNIST, folder))


def checkpoint_bomb(rng: random.Random, folder: Path) -> None:
    """A checkpoint whose manifest or header claims 2^40 elements is refused; its array is named."""
    kernel = np.ones((2, 3), np.float32)
    path = folder / "final"
    checkpoint.save(path, {"kernel": kernel})
    shape = rng.choice(([2**20, 2**20], [2**40, 3], [2, 2**40]))
    manifest = json.loads((path / checkpoint.MANIFEST).read_text())
    del manifest["sha256"]
    if rng.random() < 0.5:
        manifest["arrays"]["kernel"][1] = shape
    else:
        with zipfile.ZipFile(path / checkpoint.ARRAYS, "w", rng.choice((0, zipfile.ZIP_DEFLATED))) as archive:
            header = {"descr": "<f4", "fortran_order": False, "shape": tuple(shape)}
            with archive.open("kernel.npy", "w") as member:
                np.lib.format.write_array_header_1_0(member, header)
                member.write(bytes(2**20))
        manifest["files"][checkpoint.ARRAYS] = sha256(path / checkpoint.ARRAYS)
    (path / checkpoint.MANIFEST).write_text(seal(manifest))
    with pytest.raises(CheckpointError, match=r"final (is of another network|cannot be read): kernel is"):
        checkpoint.restore(path, {"kernel": kernel})


def arrays_bomb(rng: random.Random, folder: Path) -> None:
    """An ``arrays.npz`` that claims more than it holds, or holds more than any run writes, is refused."""
    records.write_config(folder, {"seed": 0})
    records.write_arrays(folder, {"test_labels": np.arange(4)})
    claimed = rng.choice(((2**40,), (2**20, 2**20), (5,), (2**62, 8), (0,), (2**31, 2**31, 2**31)))
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": claimed})
    with zipfile.ZipFile(folder / "arrays.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("test_labels.npy", member.getvalue() + bytes(16))
        if rng.random() < 0.3:  # a megabyte of zeros is a kilobyte
            with archive.open("bomb.npy", "w", force_zip64=True) as file:
                for _ in range(MAX_BYTES // 2**24 + 1):
                    file.write(bytes(2**24))
    records.write_result(folder, records.RunResult("completed"))
    with pytest.raises(records.RecordError, match=r"arrays\.npz is damaged: (.* claims|it unpacks to) "):
        records.read_run(folder).arrays()


def hostile_names(rng: random.Random, folder: Path) -> None:
    """Names and errors of runs show as themselves in the report, and run nothing."""
    parts = [
        *"<>\"'&|`*_[]()!#{}$\\\n",
        "script",
        "img src=x onerror=alert(1)",
        "</td>",
        "<!--",
        "]]>",
        "{{7*7}}",
    ]

    def draw() -> str:
        return "<script>alert(1)</script>" + "".join(rng.choices(parts, k=rng.randrange(12)))

    arms = list(dict.fromkeys(draw() for _ in range(2)))
    plan = {"name": draw(), "question": draw(), "axis": "model.name", "arms": arms, "reference": arms[0]}
    for number, arm in enumerate(arms):
        run = folder / f"{number}<script>alert(1)<"
        records.write_config(run, {"seed": 0, "model": {"name": draw()}, "study": plan | {"arm": arm}})
        records.write_result(run, records.RunResult("failed", draw(), provenance={"command": draw()}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of glyphs that the font of the figures does not have
        report.write_report(folder)
    own = Elements(Path(html_report.__file__).with_name("report.html.jinja").read_text()).scripts
    found = Elements((folder / "report.html").read_text(encoding="utf-8"))
    assert found.scripts == own, found.scripts
    assert not found.handlers, found.handlers
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert not re.search(r"(?m)^(?! {4}).*<(script|img)", text), text


class Elements(html.parser.HTMLParser):
    """The scripts of a page, and the attributes that run something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.handlers: list[str] = []
        self.within = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.within = tag == "script"
        self.scripts += [""] if self.within else []
        self.handlers += [
            name for name, value in attrs if name.startswith("on") or "script:" in (value or "")
        ]

    def handle_data(self, data: str) -> None:
        if self.within:
            self.scripts[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self.within = False


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of 28x28 zeros whose header claims another size, with the right checksum."""
    content = _encoded("PNG")
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + content[24:29]
    return content[:12] + header + zlib.crc32(header).to_bytes(4, "big") + content[33:]


def jpeg_that_claims(width: int, height: int) -> bytes:
    """A JPEG of 28x28 zeros whose frame header claims another size."""
    content = _encoded("JPEG")
    start = content.index(b"\xff\xc0") + 5
    return content[:start] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + content[start + 4 :]


def write_examples(examples: dict[str, list[dict]], data_dir: Path) -> None:
    """A prepared MNIST of these examples."""
    builder: Any = FolderBuilder("mnist", MNIST, MNIST.class_names or (), examples, data_dir)
    # what does not fit is refused by the features that TFDS writes with
    builder.info.features["label"]._num_classes = 1000
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        builder.download_and_prepare(
            download_dir=str(data_dir / "downloads"),
            download_config=tfds.download.DownloadConfig(try_download_gcs=False),
        )


def _encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(file, kind)
    return file.getvalue()
