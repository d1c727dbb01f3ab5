"""The demo tells the truth: it checks its own claims, and this test checks that it comes to its end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from server.demo import workflow
from tests.process.conftest import ROOT, surroundings

SECONDS = 110.0


@pytest.mark.timeout(SECONDS + 10)
def test_the_demo_survives_its_two_crashes_and_fits_80_columns(tmp_path: Path) -> None:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "server", "demo", "--once"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=ROOT,
        env=surroundings(tmp_path),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("☠ kill -9") == 2
    assert "6 orders, 6 parcels, 1 refund" in done.stdout
    assert "0 steps lost, 0 effects doubled" in done.stdout
    assert "scripted provider" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not list(tmp_path.iterdir()), "it lives in a folder of its own"
    print(f"demo: {time.monotonic() - began:.0f} s")


def test_its_slips_are_slips_and_nothing_else() -> None:
    good, slipped = workflow.named("x"), workflow.with_slips("x")
    assert good != slipped
    slipped["nodes"][0]["type"] = "http"
    slipped["nodes"][3]["config"]["concurrency"] = 3
    assert good == slipped
