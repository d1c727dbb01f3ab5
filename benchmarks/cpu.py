"""CPU seconds of this process and of the Postgres it talks to: steadier than wall time on a shared machine."""

from __future__ import annotations

import os
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def of_postgres(postmaster: int) -> float:
    """CPU seconds of the server's processes so far, ended ones included. Read from /proc."""
    total = _ticks(postmaster, with_children=True)
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and _parent(entry) == postmaster:
            total += _ticks(int(entry.name), with_children=False)
    return total / TICKS


def _fields(pid: Path) -> list[str]:
    try:
        return (pid / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _parent(pid: Path) -> int:
    fields = _fields(pid)
    return int(fields[1]) if fields else 0


def _ticks(pid: int, *, with_children: bool) -> int:
    fields = _fields(Path(f"/proc/{pid}"))
    return sum(int(value) for value in fields[11 : 15 if with_children else 13]) if fields else 0


def of_process(pid: int) -> float:
    """CPU seconds of another process so far, in steps of a hundredth."""
    return _ticks(pid, with_children=True) / TICKS


class Meter:
    """`with Meter(postmaster) as used:` then used.ours, used.postgres (CPU seconds) and used.wall. With `pid`, `ours` is that process."""

    def __init__(self, postmaster: int, *, pid: int | None = None) -> None:
        self.postmaster = postmaster
        self.pid = pid
        self.ours = self.postgres = self.wall = 0.0

    def _used(self) -> float:
        return time.process_time() if self.pid is None else of_process(self.pid)

    def __enter__(self) -> Meter:
        self._start = (self._used(), of_postgres(self.postmaster), time.perf_counter())
        return self

    def __exit__(self, *exc: object) -> None:
        ours, postgres, wall = self._start
        self.ours = self._used() - ours
        self.postgres = of_postgres(self.postmaster) - postgres
        self.wall = time.perf_counter() - wall
