"""The flags of XLA with which a run was made. They can change its numbers, and no block can scope them."""

from pathlib import Path

NEUTRAL = ("--xla_dump_", "--xla_force_host_platform_device_count", "--xla_gpu_cuda_data_dir")
"""The beginnings of flags that change no number: those of folders and of the number of CPU devices."""


def describe_other_flags(path: Path, before: str, now: str) -> str | None:
    """Return a sentence if two values of XLA_FLAGS could give different numbers, and `None` otherwise.

    Args:
        path: the run or the checkpoint that was made with the flags `before`.
        before: the flags that it recorded.
        now: the other flags.

    Example:
        >>> describe_other_flags(Path("a"), "--xla_x=1 --xla_y=2", "--xla_y=2 --xla_x=1 --xla_dump_to=d")
        >>> describe_other_flags(Path("a"), "", "--xla_x=1")
        'a was made with XLA_FLAGS="" and not with "--xla_x=1", which can change numbers; give the same flags'
    """
    if _in_order(before) == _in_order(now):
        return None
    made = f'{path} was made with XLA_FLAGS="{before}" and not with "{now}"'
    return f"{made}, which can change numbers; give the same flags"


def _in_order(flags: str) -> list[str]:
    return sorted(word for word in flags.split() if not word.startswith(NEUTRAL))
