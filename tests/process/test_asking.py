"""At a terminal, `weft run --watch` asks the person in front of it what the run asks."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time

import pytest

from tests.process.conftest import ROOT, Installation, surroundings

SECONDS = 60.0
ORDER = '{"text": "Renew the certificate", "due": "2020-01-01T00:00:00Z", "grace": "10ms"}'


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_person_answers_the_questions_of_a_run_at_the_terminal(installation: Installation) -> None:
    controller, terminal = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "server", "run", "examples/reminder.yaml", "--watch", "--input", ORDER],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=ROOT,
        env=surroundings(installation.data_dir, TERM="xterm", COLUMNS="80"),
    )
    os.close(terminal)
    try:
        answers = [("result (done, later)", "later"), ("remark", ""), ("Approve?", "y"), ("Comment", "done")]
        shown = conversation(controller, answers)
        assert child.wait(timeout=SECONDS) == 0, shown
    finally:
        child.kill()
        child.wait(timeout=SECONDS)
        os.close(controller)
    assert '"done": true' in shown
    assert "Second reminder: Renew the certificate" in shown


def conversation(terminal: int, exchanges: list[tuple[str, str]]) -> str:
    """Types each answer once its question is on the screen; all that was shown until the command ended."""
    shown, waiting = "", list(exchanges)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            shown += os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # the other end is closed: the command has ended
            return shown
        if waiting and waiting[0][0] in shown:
            os.write(terminal, f"{waiting.pop(0)[1]}\n".encode())
    raise AssertionError(f"it did not end: {shown[-2000:]}")
