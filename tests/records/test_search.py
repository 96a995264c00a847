"""The record of a search is read as it was written, or not at all."""

import pytest

from research.records import RecordError
from research.records.search import SearchRecord, SearchTrial, read_search, write_search

RECORD = SearchRecord("search 1", {"seed": "{}"}, [SearchTrial({"rate": 0.1, "model": "tiny"}, "a")])


def test_a_record_is_read_as_it_was_written(tmp_path):
    assert read_search(tmp_path) is None
    write_search(tmp_path, RECORD)
    assert read_search(tmp_path) == RECORD


def test_a_damaged_record_is_named(tmp_path):
    write_search(tmp_path, RECORD)
    path = tmp_path / "search.json"
    path.write_text(path.read_text().replace("tiny", "tine"))
    with pytest.raises(RecordError, match=r"search\.json is damaged: its checksum does not match"):
        read_search(tmp_path)
