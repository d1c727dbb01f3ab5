"""`weft runs`: what its commands print and do. In this process, since a house takes seconds to import; what is wrong, as real commands."""

from __future__ import annotations

import json
from typing import Any

import pytest

from server.commands import running, steering
from server.settings import Settings
from store.errors import Invalid, NotFound
from store.ids import new_id
from tests.process.conftest import Installation, Kept

pytestmark = pytest.mark.anyio
BREAKS = {
    "name": "breaks",
    "nodes": [
        {"id": "a", "type": "set", "config": {"values": {"n": 1}}},
        {"id": "b", "type": "set", "config": {"values": {"n": "{{ [1][5] }}"}}},
        {"id": "c", "type": "set", "config": {"values": {"n": "{{ nodes.b.n }}"}}},
    ],
    "edges": [{"from": "a", "to": "b"}, {"from": "b", "to": "c"}],
}


@pytest.fixture
def settings(kept: Kept) -> Settings:
    return Settings(data_dir=kept.installation.data_dir)


class Terminal:
    """Runs commands, and what they print to stdout."""

    def __init__(self, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
        self.settings, self._capsys = settings, capsys
        self.workflow = f"breaks-{new_id()[-12:]}"

    async def prints(self, work: Any) -> str:
        self._capsys.readouterr()
        self.code = await work
        return self._capsys.readouterr().out

    async def shows(self, run: str, view: str = "status", node: str | None = None) -> Any:
        return json.loads(await self.prints(steering.show(self.settings, run, view, node)))

    async def steers(self, action: Any, run: str | None, *, yes: bool = False, **given: Any) -> str:
        return await self.prints(steering.steer(self.settings, action, run, given, yes=yes, compensate=None))


@pytest.fixture
async def terminal(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(settings, capsys)


@pytest.fixture
async def broken(terminal: Terminal) -> str:
    """The id of a run that failed at `b`, as the list prints it."""
    order = running.Order(definition={**BREAKS, "name": terminal.workflow}, source="stdin", input={}, mocks=None, test=False)
    assert await running.run(terminal.settings, order, watch=False) == 1
    listed = steering.show_list(terminal.settings, workflow=terminal.workflow, state="failed", mode="production", limit=5)
    [line] = (await terminal.prints(listed)).splitlines()
    assert "has no index 5" in line
    return line.split()[0]


async def test_a_run_is_shown_in_every_view(terminal: Terminal, broken: str) -> None:
    assert (await terminal.shows(broken))["state"] == "failed"
    assert [step["position"] for step in await terminal.shows(broken, "trace")] == ["a", "b"]
    assert (await terminal.shows(broken, "state", "b"))["nodes"] == {"a": {"n": 1}}
    assert (await terminal.shows(broken, "node", "a"))["output"] == {"n": 1}
    assert (await terminal.shows(broken, "events"))[0]["type"] == "run.created"
    assert await terminal.shows(broken, "effects") == []
    with pytest.raises(Invalid, match="say the step with --node"):
        await terminal.shows(broken, "node")
    with pytest.raises(NotFound):
        await terminal.shows("nope")


async def test_a_run_is_forked_compared_and_skipped(terminal: Terminal, broken: str) -> None:
    fork = (await terminal.prints(steering.order(terminal.settings, broken, "fork", edits=['b={"n": 4}']))).strip()
    assert (await terminal.shows(fork))["forked_from"] == broken
    found = json.loads(await terminal.prints(steering.diff(terminal.settings, broken, "b", fork, "after")))
    assert {operation["path"] for operation in found["patch"]} == {"/nodes/b", "/errors/b"}
    skipped = await terminal.prints(steering.order(terminal.settings, broken, "skip", node="b", output='{"n": 3}'))
    assert json.loads(skipped)["state"] == "queued"


async def test_many_runs_are_changed_only_after_a_yes(terminal: Terminal, broken: str) -> None:
    assert await terminal.steers("retry", None, workflow=terminal.workflow, state="failed") == ""
    assert terminal.code == 2
    assert (await terminal.shows(broken))["state"] == "failed"
    assert await terminal.steers("retry", None, yes=True, workflow=terminal.workflow, state="failed") == "1 asked to retry\n"
    assert json.loads(await terminal.steers("cancel", broken))["requested"] == "cancel"
    with pytest.raises(Invalid, match="not both"):
        await terminal.steers("cancel", broken, workflow=terminal.workflow)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fork", "x", "--edit", "b"), "--edit is written name=JSON"),
        (("rerun", "x", "--version", "newest"), "--version is a number, active or draft"),
        (("show", "x", "--view", "everything"), "everything"),
    ],
)
def test_a_wrong_command_line_is_a_sentence(fresh: Installation, arguments: tuple[str, ...], words: str) -> None:
    done = fresh.weft("runs", *arguments)
    assert words in done.err
    assert (done.code, done.out) == (2, "")
    assert not fresh.data_dir.exists()
