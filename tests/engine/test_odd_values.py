"""Values that JSON can say and databases stumble over go through every column unharmed."""

from __future__ import annotations

from typing import Any

import pytest

from graphs import runs, tasks
from tests.engine.conftest import House, flow, put
from tests.engine.test_waiting import answer, until

pytestmark = pytest.mark.anyio
ODD: dict[str, Any] = {
    "nul": "a\x00b",
    "half": "a\ud800b",
    "quote": "\"'\\{}[]",
    "big": 10**40,
    "empty": {},
    "umlaut": "äß漢字",
    "\x00key": [None],
}


async def test_odd_values_come_out_as_they_went_in(running: House) -> None:
    ask = {
        "id": "ok",
        "type": "approval",
        "config": {"title": "{{ input.nul }}{{ input.half }}", "assign_to": {"group": "{{ input.half }}"}},
    }
    definition = flow(put("a", v="{{ input }}"), ask, put("b", v="{{ nodes.a.v }}"), edges=[("a", "ok"), ("ok", "b")])
    run = await running.run(definition, ODD)
    assert run.state == "waiting"
    (task,) = (await tasks.page(running.runtime, running.actor, run_id=run.id)).items
    assert task.title == "a�ba�b"
    await answer(running, run.id, {"approved": True, "comment": "\x00\ud800"})
    run = await until(running, run.id, "succeeded")
    assert run.output == {"v": ODD}
    assert (await runs.node(running.runtime, running.actor, run.id, "a")).output == {"v": ODD}
    assert (await runs.node(running.runtime, running.actor, run.id, "ok")).output["comment"] == "\x00\ud800"
