import pytest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to=int4"], "--to=int4 is not allowed; give one of bfloat16, float32, int8, int8_weights"),
        (["--prune=1.5"], "--prune=1.5 is not allowed; give a number, at least 0 and below 1"),
        (["--by=channel"], "--by=channel is not allowed without --prune; give --prune too"),
        (["--snapshots", "--with", "b"], "--snapshots is not allowed beside --with; give one of the two"),
        (["--prune=0.5", "--with", "b"], "--prune=0.5 is not allowed for several networks; leave it out"),
        ([], "nowhere is not a run: it holds no config.yaml"),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(call, arguments, message):
    refused = call("compress.py", "nowhere", *arguments)
    assert (refused.code, refused.out, refused.err) == (2, "", f"compress.py: {message}\n")
