"""`python -m benchmarks` (or `make bench`): every table, one after the other; about a quarter of an hour."""

import subprocess
import sys
from pathlib import Path

FIRST = (
    "machine",
    "decision",
    "flow",
    "leaving",
    "sharing",
    "scrape",
    "picker_cost",
    "routing",
    "controlplane",
    "soak",
)


def main() -> None:
    """Run them all; ends with the first that fails."""
    for name in FIRST:
        print(f"$ python -m benchmarks.{name}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}"], cwd=Path(__file__).parent.parent, check=False
        )
        if done.returncode:
            sys.exit(done.returncode)


if __name__ == "__main__":
    main()
