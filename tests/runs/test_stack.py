"""How deep the training steps lie: few frames, and each folder once."""

import itertools
import traceback
from pathlib import Path

import research
from research.config import Config
from research.parallel import STRATEGIES
from research.runs.program import forget_programs
from research.runs.run import run

PACKAGE = Path(research.__file__).parent


def test_the_first_call_of_the_compiled_steps_is_a_few_frames_deep(monkeypatch, tmp_path):
    compile_steps, stacks = STRATEGIES["single"], []

    def recording(*arguments, options):
        compiled, executable = compile_steps(*arguments, options=options)

        def call(*arguments):
            stacks.append([Path(frame.filename) for frame in traceback.extract_stack()])
            return compiled(*arguments)

        return call, executable

    monkeypatch.setitem(STRATEGIES, "single", recording)
    forget_programs()
    values = {"model": {"name": "tiny"}, "data": {"train_limit": 140}, "training": {"epochs": 1}}
    run(Config.from_dict(values), tmp_path / "run")
    forget_programs()
    frames = [path for path in stacks[0] if path.is_relative_to(PACKAGE)]
    folders = [path.relative_to(PACKAGE).parts[0] for path in frames]
    assert 0 < len(frames) <= 6, frames
    once = [folder for folder, _ in itertools.groupby(folders)]
    assert len(once) == len(set(once)), folders
