"""scripted: no model at all. Answers the same every time and says so; for trying workflows out without a key, and for tests.

`scripted` repeats what it was asked, or gives an example of the schema. `scripted:<name>` plays a script: a list of turns, of which the
number of answers already in the conversation chooses one, so that it goes on at the right place after a crash. A turn is

    {"text": "…", "calls": [{"name": "…", "arguments": {…}, "id": "…"}], "json": …, "usage": {"input_tokens": 9, …},
     "fails": {"code": "model_unavailable", "message": "…", "retry_after": 1}}

with every part optional. `${results.<call id>.path.to.it}` in its text or arguments is what a tool answered to that call before."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic import Field, ValidationError

from graphs.definition import Closed, Json
from graphs.models._messages import Call, Endpoint, Message, Reply, Usage, Wish
from graphs.models._settings import ModelSettings
from graphs.nodetype import Failure
from graphs.outbound import Outbound
from graphs.samples import sample

NEEDS = "nothing"
BASE = ""
SHOWN = 200
PIECE = 12  # characters of a streamed piece
HOLE = re.compile(r"\$\{results\.([\w-]+)((?:\.[\w-]+)*)\}")


class CallTurn(Closed):
    name: str = Field(max_length=200)
    arguments: dict[str, Any] = Field(default_factory=dict)
    id: str | None = Field(default=None, max_length=200, description="without it call_<turn>_<number>, counted from 1")
    malformed: str | None = Field(default=None, description="text instead of arguments, as a model sends that writes no JSON")


class UsageTurn(Closed):
    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    cached_tokens: int = Field(default=0, ge=0)


class FailTurn(Closed):
    code: str = Field(pattern=r"^model_[a-z_]+$")
    message: str = "as the script says"
    retry_after: float | None = None


class Turn(Closed):
    """One answer of a script."""

    text: str = ""
    calls: tuple[CallTurn, ...] = Field(default=(), strict=False)
    json_: Json = Field(default=None, alias="json", description="the answer where a schema is asked for")
    usage: UsageTurn = UsageTurn()
    fails: FailTurn | None = None


def check_turns(turns: Sequence[Mapping[str, Json]]) -> None:
    """Raises ValueError for the first turn that is none."""
    for number, turn in enumerate(turns, 1):
        try:
            Turn.model_validate(turn)
        except ValidationError as wrong:
            problem = wrong.errors(include_url=False, include_input=False)[0]
            where = "/".join(str(part) for part in problem["loc"])
            raise ValueError(f"turn {number} of the script, at {where}: {problem['msg'].lower()}") from None


def endpoint(settings: ModelSettings) -> Endpoint:
    return Endpoint()


def default(settings: ModelSettings) -> str:
    return ""


def load() -> None:
    pass


async def ask(call: Call, endpoint: Endpoint, outbound: Outbound) -> Reply:
    if call.model:
        return _played(call)
    if call.schema is not None:
        return _told(call, Reply(text=json.dumps(sample(call.schema)), usage=Usage()))
    asked = " ".join(call.messages[-1].text.split())
    shown = asked if len(asked) <= SHOWN else asked[:SHOWN] + "…"
    return _told(call, Reply(text=f"(scripted answer, no model was asked) {shown}", usage=Usage()))


def _played(call: Call) -> Reply:
    if call.script is None:
        raise Failure("model_script", f"there is no script {call.model!r}; give one with the model, or in `script` of the step")
    number = sum(message.role == "assistant" for message in call.messages)
    if number >= len(call.script):
        raise Failure("model_script", f"the script {call.model!r} has {len(call.script)} turns, and turn {number + 1} was asked for")
    turn = Turn.model_validate(call.script[number])
    if turn.fails:
        again = turn.fails.code in ("model_unavailable", "model_rate_limited", "model_timeout", "model_cut")
        raise Failure(turn.fails.code, turn.fails.message, retryable=again, retry_after=turn.fails.retry_after)
    results = _results(call.messages)
    text = str(_filled(turn.text, results))
    if turn.json_ is not None:
        text = json.dumps(_filled(turn.json_ if not call.schema or _fits_object(turn.json_) else {"value": turn.json_}, results))
    wishes = tuple(
        Wish(
            id=asked.id or f"call_{number + 1}_{place}",
            name=asked.name,
            arguments=asked.malformed if asked.malformed is not None else json.dumps(_filled(asked.arguments, results)),
        )
        for place, asked in enumerate(turn.calls, 1)
    )
    return _told(call, Reply(text=text, usage=Usage(**turn.usage.model_dump()), calls=wishes))


def _fits_object(value: Json) -> bool:
    return isinstance(value, dict)


def _told(call: Call, reply: Reply) -> Reply:
    for start in range(0, len(reply.text), PIECE) if call.on_text else ():
        for listener in (call.heard, call.on_text):
            if listener is not None:
                listener(reply.text[start : start + PIECE])
    return reply


def _results(messages: tuple[Message, ...]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for message in messages:
        if message.role == "tool" and message.call_id:
            try:
                found[message.call_id] = json.loads(message.text)
            except ValueError:
                found[message.call_id] = message.text
    return found


def _filled(value: Json, results: Mapping[str, Json]) -> Json:
    """With what tools have answered put into its holes; one that is the whole text keeps its type."""
    if isinstance(value, dict):
        return {key: _filled(part, results) for key, part in cast("dict[str, Json]", value).items()}
    if isinstance(value, list):
        return [_filled(part, results) for part in cast("list[Json]", value)]
    if not isinstance(value, str):
        return value
    if whole := HOLE.fullmatch(value):
        return _at(whole, results)
    return HOLE.sub(lambda hole: _text(_at(hole, results)), value)


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _at(hole: re.Match[str], results: Mapping[str, Json]) -> Json:
    value: Json = results
    for part in (hole[1], *hole[2].split(".")[1:]):
        try:
            value = value[int(part) if isinstance(value, list) else part]
        except (KeyError, IndexError, ValueError, TypeError):
            raise Failure("model_script", f"nothing is at {hole[0]} in the results so far") from None
    return value
