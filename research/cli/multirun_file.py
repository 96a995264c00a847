"""The file `multirun.yaml` that Hydra writes into the folder of a sweep before any job."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException


@contextlib.contextmanager
def multirun_file_restored(words: list[str], composed: list[Path]) -> Iterator[None]:
    """Undo what Hydra writes into the folder of a sweep before any job, if the block raises an exception.

    Hydra writes `multirun.yaml`, and makes the folder if there is none.

    Args:
        words: the words of the command line, which name the folder of a sweep that exists already.
        composed: the folder of the sweep, once for each job; the block fills this list.
    """
    words = [word.lstrip("+") for word in words] if {"-m", "--multirun"} & set(words) else []
    named = [Path("multirun", word[len("study=") :]) for word in words if word.startswith("study=")]
    with contextlib.suppress(OverrideParseException):  # Hydra reports the error when it composes
        given = [word for word in words if word.startswith("hydra.sweep.dir=")]
        named += [Path(str(each.value())) for each in OverridesParser.create().parse_overrides(given)]
    files = [folder / "multirun.yaml" for folder in named]
    before = {path: (path.read_bytes(), path.stat()) for path in files if path.is_file()}
    kept = {folder for path in files for folder in path.parents if folder.exists()}
    try:
        yield
    except BaseException:
        for path in {*files, *(folder / "multirun.yaml" for folder in composed)}:
            if path in before:
                content, was = before[path]
                path.write_bytes(content)
                os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
                continue
            with contextlib.suppress(OSError):  # a folder is not empty
                if [each.name for each in path.parent.iterdir()] == [path.name]:
                    path.unlink()
                for folder in path.parents:
                    if folder not in kept:
                        folder.rmdir()
        raise
