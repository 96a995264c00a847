import pytest

from research.utils.memory import free_memory


def folders(root, cgroup, files):
    """Make the files of the kernel below a folder."""
    files = {"proc/meminfo": "MemTotal: 8000 kB\nMemAvailable: 4000 kB\n", "proc/self/cgroup": cgroup} | files
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_what_the_machine_has(tmp_path):
    assert free_memory(folders(tmp_path, "0::/\n", {})) == 4000 * 1024
    assert free_memory() > 2**20


@pytest.mark.parametrize(
    ("cgroup", "base", "limit", "usage", "cached", "none"),
    [
        ("0::/job/step\n", "", "memory.max", "memory.current", "inactive_file", "max"),
        (
            "5:cpu:/\n4:memory:/job/step\n",
            "memory/",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file",
            "9223372036854771712",
        ),
    ],
)
def test_a_limit_of_an_outer_cgroup_counts_and_cached_files_do_not(
    tmp_path, cgroup, base, limit, usage, cached, none
):
    folder = f"sys/fs/cgroup/{base}job"
    files = {f"{folder}/{limit}": "1000000", f"{folder}/{usage}": "600000"}
    files |= {f"{folder}/step/{limit}": none, f"{folder}/step/{usage}": "500000"}
    stat = f"anon 1\n{cached} 50000\n"
    files |= {f"{folder}/memory.stat": stat, f"{folder}/step/memory.stat": stat}
    assert free_memory(folders(tmp_path, cgroup, files)) == 450000
