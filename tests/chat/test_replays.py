"""The run of a turn of a chat replays like any other, also when the draft that it changed has moved on."""

from __future__ import annotations

import pytest

from graphs import authoring, replaying
from tests.chat.talking import call, say, script
from tests.chat.test_chats import EDIT
from tests.server.conftest import House, http
from tests.server.samples import HELLO

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


async def test_a_turn_that_changed_a_workflow_replays_equal_and_changes_nothing(house: House, url: str) -> None:
    await house.publish(HELLO)
    async with http(url, house.keys["builder"]) as client:
        model = script(call("get_workflow", workflow="hello-world"), call("edit_workflow", **EDIT), {"text": "Done."})
        heard = await say(client, "Greet better", allow=True, model=model)
    assert heard.tools() == ["get_workflow", "edit_workflow"]
    changed = await authoring.get(house.runtime, house.actor(), "hello-world")
    again = await replaying.replay(house.runtime, house.actor("builder"), heard.one("chat")["run_id"])
    assert again.equal, replaying.report_of(again)
    assert (await authoring.get(house.runtime, house.actor(), "hello-world")).revision == changed.revision == 2
