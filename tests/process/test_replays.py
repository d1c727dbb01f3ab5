"""`weft runs replay`, `cassette` and `fix`: what they print, and their exit codes."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from server.commands import replays
from server.settings import Settings
from store.errors import Invalid
from tests.process.conftest import Kept
from tests.process.test_runs import BREAKS, Terminal, broken, settings, terminal

pytestmark = pytest.mark.anyio
__all__ = ["broken", "settings", "terminal"]
RIGHT = [{"op": "replace", "path": "/nodes/1/config/values/n", "value": "{{ nodes.a.n }}"}]


def order(run: str, **given: Any) -> replays.Order:
    return replays.read_order(run, given.get("on"), given.get("version"), given.get("on_divergence", "stop"), given.get("mocks"))


async def test_a_run_is_replayed_from_the_journal_and_from_a_file(terminal: Terminal, broken: str, tmp_path: Path) -> None:
    same = json.loads(await terminal.prints(replays.replay(terminal.settings, order(broken))))
    assert (terminal.code, same["equal"]) == (0, True)
    file = tmp_path / "run.jsonl"
    file.write_text(await terminal.prints(replays.cassette(terminal.settings, broken, redact=True, mask=[])))
    again = json.loads(await terminal.prints(replays.replay(terminal.settings, order(str(file)))))
    assert (terminal.code, again["equal"], again["digest"]) == (0, True, same["digest"])
    draft = tmp_path / "draft.json"
    nodes: list[dict[str, Any]] = copy.deepcopy(BREAKS["nodes"])  # pyright: ignore[reportAssignmentType]
    nodes[0]["config"] = {"values": {"n": 2}}
    changed = {**BREAKS, "nodes": nodes}
    draft.write_text(json.dumps(changed))
    parted = json.loads(await terminal.prints(replays.replay(terminal.settings, order(str(file), on=str(draft)))))
    assert (terminal.code, parted["equal"], parted["first_divergence"]["position"]) == (1, False, "a")


async def test_a_fix_is_tried_before_it_is_printed(terminal: Terminal, broken: str) -> None:
    good = replays.fix(terminal.settings, broken, json.dumps(RIGHT))
    found = json.loads(await terminal.prints(good))
    assert (terminal.code, found["ok"], found["patch"]) == (0, True, RIGHT)
    wrong = [{**RIGHT[0], "value": "{{ [1][6] }}"}]
    refused = json.loads(await terminal.prints(replays.fix(terminal.settings, broken, json.dumps(wrong))))
    assert (terminal.code, refused["ok"], refused["patch"]) == (1, False, None)
    asking: list[dict[str, Any]] = [
        {"op": "add", "path": "/nodes/-", "value": {"id": "rate", "type": "http", "config": {"url": "https://rates.example/"}}},
        {"op": "replace", "path": "/edges/0/to", "value": "rate"},
        {"op": "add", "path": "/edges/-", "value": {"from": "rate", "to": "b"}},
        {"op": "replace", "path": "/nodes/1/config/values/n", "value": "{{ nodes.rate.body.rate * 2 }}"},
    ]
    mocks = json.dumps({"rate": {"status": 200, "ok": True, "headers": {}, "body": {"rate": 2}}})
    added = json.loads(await terminal.prints(replays.fix(terminal.settings, broken, json.dumps(asking), mocks=mocks)))
    assert (terminal.code, added["ok"], added["simulated"]) == (0, True, ["rate"]), added


async def test_what_cannot_be_read_is_said(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "no.jsonl"
    file.write_text("{}\n")
    with pytest.raises(Invalid, match="no cassette"):
        order(str(file))
    with pytest.raises(Invalid, match="There is no file"):
        order("run", on=str(tmp_path / "nothing.yaml"))
    with pytest.raises(Invalid, match="--mocks must be"):
        order("run", mocks="[]")
    with pytest.raises(Invalid, match="--version is"):
        order("run", version="newest")
    with pytest.raises(Invalid, match="--patch is"):
        await replays.fix(settings, "run", "{}")
    with pytest.raises(Invalid, match="goes with --patch"):
        await replays.fix(settings, "run", None, mocks='{"a": 1}')


def test_the_commands_are_there(kept: Kept) -> None:
    for command in ("replay", "cassette", "fix"):
        done = kept.installation.weft("runs", command, "--help")
        assert done.code == 0, done
        assert "recording" in done.out
