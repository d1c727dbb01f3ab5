"""Weft as its users start it: real processes in a data folder of their own, with an environment that holds nothing else of Weft's."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from server.keys import OWNER_KEY, POSTGRES
from store.embedded import Embedded, embedded

ROOT = Path(__file__).parents[2]
SECONDS = 90.0  # for any one command
FOREIGN = ("OPENAI_", "ANTHROPIC_", "WEFT_", "PYTHONDONTWRITEBYTECODE")


def surroundings(data_dir: Path, **extra: str) -> dict[str, str]:
    """The environment of a command: ours without what would change Weft, plus `extra`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return {**kept, "WEFT_DATA_DIR": str(data_dir), **extra}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A long-running command that has said it is ready."""

    child: subprocess.Popen[str]
    said: str

    @property
    def url(self) -> str:
        found = re.search(r"http://[^ )]+", self.said)
        assert found is not None, self.said
        return found[0]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends the signal and waits; the exit code."""
        self.child.send_signal(number)
        return self.child.wait(timeout=SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A data folder and the commands that run on it."""

    data_dir: Path

    @property
    def key(self) -> str:
        return (self.data_dir / "keys" / OWNER_KEY).read_text().strip()

    def weft(self, *arguments: str, stdin: str = "", **extra: str) -> Ended:
        """Runs a command to its end. Whatever happens, nobody may see a traceback."""
        done = subprocess.run(
            [sys.executable, "-m", "server", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            cwd=ROOT,
            env=surroundings(self.data_dir, **extra),
            check=False,
        )
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        return Ended(code=done.returncode, out=done.stdout, err=done.stderr)

    @contextmanager
    def process(self, *arguments: str, **extra: str) -> Generator[Process]:
        """A long-running command, from the moment it says that it is ready; killed at the end if it still runs."""
        with tempfile.TemporaryFile("w+") as errors:
            child = subprocess.Popen(
                [sys.executable, "-m", "server", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env=surroundings(self.data_dir, **extra),
            )
            assert child.stdout is not None
            try:
                said = next((line for line in iter(child.stdout.readline, "") if " is ready" in line), None)
                errors.seek(0)
                assert said is not None, f"it ended instead: {errors.read()}"
                yield Process(child=child, said=said)
            finally:
                if child.poll() is None:
                    child.kill()
                child.wait(timeout=30)
                child.stdout.close()


@pytest.fixture
def fresh() -> Generator[Installation]:
    """An installation before its first start. Not under pytest's folder, whose path is too long for a socket and closed to Postgres."""
    folder = Path(tempfile.mkdtemp(prefix="weft-process-"))
    try:
        yield Installation(data_dir=folder / "data")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    installation: Installation
    postgres: Embedded


@pytest.fixture(scope="session")
def kept() -> Generator[Kept]:
    """An installation that stands for the whole session: its Postgres is held up here, so that commands only join it."""
    folder = Path(tempfile.mkdtemp(prefix="weft-process-"))
    data_dir = folder / "data"
    (data_dir / "keys").mkdir(parents=True, mode=0o700)
    with asyncio.Runner() as runner:
        context = embedded(data_dir / "postgres", data_dir / "keys" / POSTGRES)
        postgres = runner.run(context.__aenter__())
        try:
            yield Kept(installation=Installation(data_dir=data_dir), postgres=postgres)
        finally:
            runner.run(context.__aexit__(None, None, None))
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def installation(kept: Kept) -> Installation:
    return kept.installation
