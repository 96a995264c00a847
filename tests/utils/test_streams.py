import io
import os
import sys

import pytest

from research.utils.streams import Output, protect_output


@pytest.mark.parametrize(
    ("encoding", "written"), [("latin-1", b"\xe4 \xb1 \\u2014"), ("ascii", b"\\xe4 \\xb1 \\u2014")]
)
def test_a_letter_that_the_encoding_lacks_is_escaped(encoding, written):
    raw = io.BytesIO()
    output = Output(io.TextIOWrapper(raw, encoding=encoding))
    assert output.write("ä ± —") == 5
    output.flush()
    assert raw.getvalue() == written


def test_the_bytes_of_a_file_name_are_escaped():
    raw = io.BytesIO()
    output = Output(io.TextIOWrapper(raw, encoding="utf-8"))
    output.write(os.fsdecode(b"\xff"))
    output.flush()
    assert raw.getvalue() == b"\\udcff"


def test_an_error_of_the_system_is_kept(tmp_path):
    class Broken(io.StringIO):
        def write(self, text):
            raise BrokenPipeError(32, "Broken pipe")

        def flush(self):
            raise OSError(28, "No space left on device")

    output = Output(Broken())
    output.flush()
    assert output.write("text") == 4
    assert output.error is not None
    assert output.error.errno == 28
    assert not output.isatty()


def test_a_stream_that_is_closed_takes_what_is_written(monkeypatch):
    with monkeypatch.context() as patch:
        for name in ("stdin", "stdout", "stderr"):
            patch.setattr(sys, name, None)
        protect_output()
        streams = sys.stdin, sys.stdout, sys.stderr
        print("nobody reads this", flush=True)
        print("nor this", file=sys.stderr)
        protect_output()
        assert (sys.stdin, sys.stdout, sys.stderr) == streams
    assert streams[0].read() == ""
    for stream in streams:
        stream.close()
