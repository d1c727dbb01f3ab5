"""All benchmarks, one after another: `make bench`, or `python -m benchmarks [engine|doors|validate|budgets|replay …]`."""

from __future__ import annotations

import subprocess
import sys

ALL = ("engine", "doors", "validate", "budgets", "replay")


def main(wanted: list[str]) -> int:
    """The number of benchmarks that failed. Each runs in a process of its own, so that none warms the next one up."""
    failed = 0
    for name in wanted or ALL:
        if name not in ALL:
            print(f"there is no benchmark {name!r}; there are {', '.join(ALL)}", file=sys.stderr)
            return 2
        failed += subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode != 0
        print()
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
