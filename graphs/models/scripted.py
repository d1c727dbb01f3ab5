"""scripted: no model at all. Answers the same every time and says so; for trying workflows out without a key, and for tests."""

from __future__ import annotations

import json

from graphs.models import Call, ModelSettings, Reply, Usage
from graphs.outbound import Outbound
from graphs.samples import sample

NEEDS = "nothing"
BASE = ""
SHOWN = 200


def configured(settings: ModelSettings) -> bool:
    return True


def default(settings: ModelSettings) -> str:
    return ""


def load() -> None:
    pass


async def ask(call: Call, settings: ModelSettings, outbound: Outbound) -> Reply:
    if call.schema is not None:
        return Reply(text=json.dumps(sample(call.schema)), usage=Usage())
    asked = " ".join(call.messages[-1].text.split())
    shown = asked if len(asked) <= SHOWN else asked[:SHOWN] + "…"
    return Reply(text=f"(scripted answer, no model was asked) {shown}", usage=Usage())
