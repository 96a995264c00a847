"""Memory that a process no longer uses, memory that it can still take, and memory of the machine."""

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path


def give_back_memory() -> None:
    """Give freed memory back to the operating system, if the C library has a function for that.

    The compiler of XLA takes and frees hundreds of MiB in small blocks for each program, and glibc keeps most
    of these for the process, which therefore grows with the number of programs.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def resident_memory(line: str = "VmRSS", process: int | str = "self") -> int:
    """Return the bytes of main memory that a process holds, and 0 on systems other than Linux.

    Args:
        line: the line of `/proc/PROCESS/status`; `VmHWM` is the peak since the start or the last
            `peak_memory`.
        process: the number of the process; `self` is this process.
    """
    with contextlib.suppress(OSError):
        for text in Path(f"/proc/{process}/status").read_text().splitlines():
            if text.startswith(f"{line}:"):
                return 1024 * int(text.split()[1])
    return 0


@contextlib.contextmanager
def peak_memory() -> Iterator[Callable[[], int]]:
    """Yield a function that returns the most bytes that this process has held since the block began."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    yield lambda: resident_memory("VmHWM")


def machine_memory() -> int:
    """Return the bytes of main memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def free_memory(root: Path = Path("/")) -> int:
    """Return the bytes of main memory that this process can still take.

    It is the smallest of the machine's available memory and of what is left in the memory cgroups of the
    process, of version 1 or 2, by which a container or a cluster limits memory.

    Args:
        root: the folder that holds `proc` and `sys`.
    """
    rooms = [machine_memory()]
    with contextlib.suppress(OSError):  # other systems than Linux
        lines = (root / "proc/meminfo").read_text().splitlines()
        rooms += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                rooms += _rooms(root / "sys/fs/cgroup", path, VERSION_2)
            elif "memory" in controllers.split(","):
                rooms += _rooms(root / "sys/fs/cgroup/memory", path, VERSION_1)
    return min(rooms)


VERSION_1 = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
VERSION_2 = "memory.max", "memory.current", "inactive_file"


def _rooms(base: Path, path: str, names: tuple[str, str, str]) -> Iterator[int]:
    """Yield the bytes that are left in a cgroup and in each one above it that has a limit.

    Args:
        base: the folder of all cgroups.
        path: the cgroup of this process, as `/proc/self/cgroup` names it.
        names: the file of the limit, the file of the usage, and the line in `memory.stat` of the files that
            the kernel keeps in memory only until the memory is needed.
    """
    folder = base / path.lstrip("/")
    for each in (folder, *folder.parents):
        with contextlib.suppress(OSError):  # a container sees only some of the folders
            limit = (each / names[0]).read_text().strip()
            if limit != "max":
                stat = dict(line.split() for line in (each / "memory.stat").read_text().splitlines())
                yield int(limit) - int((each / names[1]).read_text()) + int(stat.get(names[2], 0))
