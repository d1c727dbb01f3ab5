"""Recordings that once were replayed or compared wrongly are replayed for ever: equal, and with an edit located where it was made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from graphs import authoring, cassettes, replaying
from tests.engine.conftest import House

pytestmark = pytest.mark.anyio
FOUND = Path(__file__).parent / "found"
EDITS: dict[str, tuple[dict[str, Any], str]] = {
    "a-group-that-began-deeper": ({"op": "add", "path": "/nodes/0/config/body/nodes/1/config/items/0", "value": "edited"}, "n3"),
    "a-group-cut-off-by-a-stop-inside": (
        {"op": "replace", "path": "/nodes/3/config/then/nodes/0/config/condition", "value": "not (input.nb)"},
        "n5",
    ),
    "an-edge-inside-a-group-that-is-cancelled": (
        {"op": "replace", "path": "/nodes/1/config/finally/edges/0/when", "value": "not (nodes.n5 == None)"},
        "n5",
    ),
    "a-stop-beside-a-failure": ({"op": "replace", "path": "/nodes/1/config/body/nodes/0/config/output", "value": "edited"}, "n3"),
}


@pytest.mark.parametrize("name", sorted(path.stem for path in FOUND.glob("*.jsonl")))
async def test_a_recording_of_another_house_replays_and_its_edit_is_located(running: House, name: str) -> None:
    recording = cassettes.of_lines((FOUND / f"{name}.jsonl").read_text().splitlines())
    again = await replaying.replay_recording(running.runtime, running.actor, recording)
    assert again.equal, replaying.report_of(again)
    assert again.digest == again.recorded
    patch, node = EDITS[name]
    edited = await replaying.replay_recording(running.runtime, running.actor, recording, authoring.patched(recording.definition, [patch]))
    assert edited.divergence is not None
    assert edited.divergence.node == node, replaying.report_of(edited)
