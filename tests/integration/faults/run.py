"""Faults that runs and sweeps must survive, each tried many times at random: what broke, where and with what.

    python tests/integration/faults/run.py                       every fault as often as FAULTS says
    python tests/integration/faults/run.py --only damage --count 200 --seed 7

A trial is a function of a random generator and an empty folder. A failed one is printed with the command that
repeats it.
"""

import argparse
import random
import sys
import tempfile
import traceback
import unittest
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from research.utils.lookup import lookup
from research.utils.progress_bar import track
from tests.integration.faults import configs, damage, data, disk, kills, nans, security, surroundings

Trial = Callable[[random.Random, Path], None]

# name: (trial, how many are asked)
FAULTS: dict[str, tuple[Trial, int]] = {
    "kill_run": (kills.kill_run, 100),
    "kill_sweep": (kills.kill_sweep, 50),
    "damage": (damage.damage, 200),
    "disk_full": (disk.disk_full, 20),
    "file_limit": (disk.file_limit, 20),
    "read_only": (disk.read_only, 20),
    "deleted": (disk.deleted, 20),
    "nans": (nans.bad_value, 50),
    "dataset": (data.damaged_dataset, 50),
    "record": (data.bad_record, 50),
    "changed_data": (data.changed_data, 50),
    "configs": (configs.mutated_config, 2000),
    "image_bomb": (security.image_bomb, 50),
    "checkpoint_bomb": (security.checkpoint_bomb, 50),
    "arrays_bomb": (security.arrays_bomb, 50),
    "hostile_names": (security.hostile_names, 50),
    "clock": (surroundings.clock, 20),
    "two_runs": (surroundings.two_runs, 20),
    "odd_paths": (surroundings.odd_paths, 20),
    "home": (surroundings.home, 20),
}


def run_trial(trial: Trial, seed: int) -> None:
    """Run one trial in an empty folder, which is removed after it.

    Raises:
        AssertionError: the fault was not survived; so says any other exception, too.
        unittest.SkipTest: the fault cannot be made on this machine.
    """
    with tempfile.TemporaryDirectory(prefix="fault-", ignore_cleanup_errors=True) as folder:
        trial(random.Random(seed), Path(folder))


def try_fault(name: str, count: int, seed: int) -> tuple[int, int]:
    """Run ``count`` trials, with the seeds from ``seed`` on; gives how many passed and failed."""
    trial, _ = FAULTS[name]
    passed, failed = 0, 0
    for number in track(range(seed, seed + count), name, "trials"):
        try:
            run_trial(trial, number)
            passed += 1
        except unittest.SkipTest as reason:
            print(f"{name}: skipped, {reason}", flush=True)
            return passed, failed
        except KeyboardInterrupt:
            print(f"{name}: interrupted in trial {passed + failed + 1} of {count}")
            break
        except Exception as error:
            failed += 1
            reason = " ".join("".join(traceback.format_exception_only(error)).split())
            where = traceback.extract_tb(error.__traceback__)[-1]
            print(f"{name}, seed {number}: {reason} ({Path(where.filename).name}, line {where.lineno})")
            print(
                f"  again: python tests/integration/faults/run.py --only {name} --count 1 --seed {number}",
                flush=True,
            )
    print(f"{name}: {passed} passed, {failed} failed", flush=True)
    return passed, failed


def main() -> int:
    """Run the faults on the command line; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", metavar="NAME", help="one fault")
    parser.add_argument("--count", type=int, metavar="N", help="trials of each; without it, as FAULTS says")
    parser.add_argument("--seed", type=int, default=0, help="of the first trial; the next has the next")
    parser.add_argument("--list", action="store_true", help="name the faults and stop")
    arguments = parser.parse_args()
    try:
        names = [arguments.only] if arguments.only else list(FAULTS)
        counts: dict[str, int] = {name: lookup(FAULTS, name, "fault")[1] for name in names}
        count: int | None = arguments.count
        if count is not None:
            if count < 1:
                raise ValueError(f"--count {count} is not allowed; give a whole number, at least 1")
            counts = dict.fromkeys(names, count)
    except ValueError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2
    if arguments.list:
        for name, count in counts.items():
            print(f"{name} ({count})")
        return 0
    outcomes = [try_fault(name, count, arguments.seed) for name, count in counts.items()]
    passed, failed = (sum(column) for column in zip(*outcomes, strict=True))
    print(f"{passed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
