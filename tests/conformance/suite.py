"""Sets up the official conformance suite, the TypeScript SDK and a Node for both with npm, once per user; runs the suite on an address."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import signal
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import yaml

PACKAGES = Path(__file__).with_name("package.json")
INSTALL_SECONDS = 300.0
RUN_SECONDS = 300.0
SCENARIO_MS = 60_000  # the suite's own bound for one scenario; its 30 s are short on a busy machine
NPM = ("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error")
NO_NPM = (
    "The MCP conformance suite and the TypeScript client are installed with npm, and there is no npm here. Install it (Debian and Ubuntu: "
    "apt-get install npm) and run this test again; the Node ≥ 22 that they need comes with them."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing the suite looked at."""

    scenario: str
    id: str
    outcome: str  # SUCCESS, FAILURE, WARNING, SKIPPED or INFO
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How the suite judged a server by what a protocol revision requires. What it runs besides, it does not score."""

    code: int
    required: frozenset[str]
    checks: tuple[Check, ...]
    said: str

    def of(self, *outcomes: str) -> list[Check]:
        """The checks of required scenarios that came out so."""
        return [check for check in self.checks if check.scenario in self.required and check.outcome in outcomes]

    @property
    def missed(self) -> frozenset[str]:
        """Required scenarios that did not run."""
        return self.required - {check.scenario for check in self.checks}

    def __str__(self) -> str:
        counts = Counter(check.outcome for check in self.checks if check.scenario in self.required)
        passed, failed, warned = counts["SUCCESS"], counts["FAILURE"], counts["WARNING"]
        return f"{passed} checks passed, {failed} failed, {warned} warned of, in {len(self.required)} required scenarios (rc {self.code})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """An installed suite."""

    folder: Path

    @property
    def node(self) -> Path:
        return self.folder / "node_modules" / "node" / "bin" / "node"

    async def judge(self, url: str, revision: str, *options: str) -> Verdict:
        """Runs exactly what the protocol revision requires of a server against the MCP endpoint."""
        package = self.folder / "node_modules" / "@modelcontextprotocol" / "conformance"
        program = (self.node, package / "dist" / "index.js", "server")
        with tempfile.TemporaryDirectory(prefix="weft-conformance-") as results:
            chosen = ("--url", url, "--requirements", revision, "--timeout", SCENARIO_MS, "-o", results, *options)
            code, said = await _finished((*program, *chosen), seconds=RUN_SECONDS)
            checks = tuple(check for file in sorted(Path(results).rglob("checks.json")) for check in _checks(file))
        required = yaml.safe_load((package / "requirements" / f"{revision}.yaml").read_text(encoding="utf-8"))["server"]
        return Verdict(code=code, required=frozenset(required), checks=checks, said=said)


def _checks(file: Path) -> list[Check]:
    """The checks of one scenario, whose name is in the name of its folder: server-<scenario>-<date>T<time>Z."""
    scenario = re.sub(r"^server-|-\d{4}-\d{2}-\d{2}T[\dZ-]+$", "", file.parent.name)
    found = json.loads(file.read_text(encoding="utf-8"))
    return [Check(scenario=scenario, id=item["id"], outcome=item["status"], said=item.get("errorMessage") or "") for item in found]


async def installed() -> Suite:
    """The suite in the user's cache folder, installed there when it is not. Says what to do when there is no npm."""
    wanted = PACKAGES.read_bytes()
    folder = Path(platformdirs.user_cache_dir("weft", appauthor=False)) / f"conformance-{hashlib.sha256(wanted).hexdigest()[:16]}"
    if folder.exists():
        return Suite(folder=folder)
    assert shutil.which("npm"), NO_NPM
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as workshop:
        made = Path(workshop) / "made"  # takes the final name only when it is whole
        made.mkdir()
        (made / PACKAGES.name).write_bytes(wanted)
        code, said = await _finished(NPM, seconds=INSTALL_SECONDS, folder=made)
        assert code == 0, f"npm could not install what tests/conformance/package.json names: {said[-2000:]}"
        with suppress(OSError):  # another run was a moment faster
            made.rename(folder)
    return Suite(folder=folder)


async def _finished(command: tuple[object, ...], *, seconds: float, folder: Path | None = None) -> tuple[int, str]:
    """Exit code and output of a command; it and all it started are killed when it takes longer."""
    program, *arguments = (str(part) for part in command)
    child = await asyncio.create_subprocess_exec(
        program, *arguments, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True
    )
    try:
        async with asyncio.timeout(seconds):
            said, _ = await child.communicate()
    finally:
        if child.returncode is None:
            os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
    assert child.returncode is not None
    return child.returncode, said.decode("utf-8", "replace")
