"""The sentences on the pages of errors, trained networks, compression and transfer are real ones."""

import re
import shlex
from pathlib import Path

import pytest

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
BLOCK = re.compile(r"^```console\n\$ cnn-research (\S+) (.*)\n(.*)\n```", re.MULTILINE)
PAGES = ("errors.md", "use.md", "compress.md", "transfer.md")
TEXT = "\n".join((GUIDES / name).read_text(encoding="utf-8") for name in PAGES)
EXAMPLES = BLOCK.findall(TEXT)


def test_the_page_has_examples():
    assert len(EXAMPLES) >= 10


@pytest.mark.parametrize(("command", "words", "sentence"), EXAMPLES, ids=[words for _, words, _ in EXAMPLES])
def test_a_sentence_is_as_the_page_says(call, command, words, sentence):
    outcome = call(f"{command}.py", *shlex.split(words))
    parts = sentence.removeprefix(f"cnn-research {command}: ").split("...")
    assert re.search(".*".join(map(re.escape, parts)), outcome.err)
    assert outcome.code == 2
