"""The exchanges between devices in a compiled program."""

import math
import re
from typing import NamedTuple

COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "reduce-scatter", "collective-permute")
BITS = {"pred": 8, "bf16": 16} | {f"{kind}{bits}": bits for kind in "suf" for bits in (8, 16, 32, 64)}


class Collective(NamedTuple):
    """One exchange between devices.

    Args:
        kind: the kind of exchange, one of `COLLECTIVES`.
        num_bytes: the size of its result on each device, in bytes.
        in_loop: whether it is in the body of a loop, so that every step exchanges data.
    """

    kind: str
    num_bytes: int
    in_loop: bool


def collectives(text: str) -> list[Collective]:
    """Return the exchanges in the text of an optimised HLO module, as `executable.as_text()` returns it.

    Example:
        >>> collectives("  %r = f32[10,2]{1,0} all-reduce(%x), channel_id=1, to_apply=%add")
        [Collective(kind='all-reduce', num_bytes=80, in_loop=False)]
    """
    bodies = set(re.findall(r"\bbody=(%[\w.-]+)", text))
    pattern = re.compile(rf"= (.*?) ({'|'.join(COLLECTIVES)})(?:-start)?\(")
    found: list[Collective] = []
    computation = ""
    for line in text.splitlines():
        if opened := re.match(r"(?:ENTRY )?(%[\w.-]+) .*{$", line):
            computation = opened[1]
        if exchange := pattern.search(line):
            found.append(Collective(exchange[2], _num_bytes(exchange[1]), computation in bodies))
    return found


def _num_bytes(shape: str) -> int:
    """Return the size in bytes of the arrays in a shape such as `(f32[10,2]{1,0}, s32[])`."""
    arrays = re.findall(r"([a-z]+\d*)\[([\d,]*)\]", shape)
    return sum(
        BITS[dtype] // 8 * math.prod(map(int, sizes.split(","))) if sizes else BITS[dtype] // 8
        for dtype, sizes in arrays
    )
