"""voice: asks a person by telephone and waits for the answer; whoever answers the same task elsewhere ends the call."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator

from graphs.definition import Closed, Duration, Json, Schema, seconds
from graphs.nodes.approval import Assignee
from graphs.nodes.input import flat
from graphs.nodetype import Context, Effect, Failure, Family, TaskForm, Templated, Wait
from graphs.voice import EVENT, OVER, PROVIDERS, STATES
from graphs.voice.calls import Calls, transcript
from graphs.voice.dialogue import MAX_CHOICES, MAX_FIELDS, Script
from store.voice_calls import Call

SUMMARY = "Call a person by telephone: say something, ask by keys or speech, wait for the answer. Output `answers` fits `ask`."
FAMILY: Family = "human"
LABELS = frozenset({"egress", "untrusted"})
EFFECT = Effect.WRITE_ONCE
WAITS = True
CONNECTS = PROVIDERS
EXAMPLES: tuple[dict[str, Any], ...] = (
    {
        "connection": "phone",
        "to": "{{ input.phone }}",
        "say": "This is the night shift of Acme. Line 3 stands still.",
        "ask": {"type": "object", "properties": {"coming": {"type": "boolean", "description": "Can you come?"}}, "required": ["coming"]},
        "redial": {"attempts": 2, "delay": "5m"},
        "timeout": "30m",
        "on_no_answer": "continue",
    },
    {"connection": "phone", "to": "+4930123456", "say": "Your order {{ input.order_id }} is ready.", "language": "en-GB"},
)
GRACE = 30.0  # seconds after the last ring that the provider has to say that nobody answered
LONGEST = 3600.0  # seconds of a call
ENDED = {"busy": "the line was busy", "no_answer": "nobody answered", "failed": "the call did not come through"}

Number = Annotated[str, StringConstraints(pattern=r"^\+[1-9][0-9]{6,14}$")]


class Redial(Closed):
    attempts: int = Field(default=1, ge=1, le=10, description="more calls when the line is busy or nobody answers")
    delay: Duration = "1m"


class Config(Closed):
    connection: str = Field(description="of kind twilio")
    to: Templated[Number] = Field(description="number to call, in E.164 form: +4930123456")
    say: str = Field(min_length=1, max_length=4000)
    ask: Schema | None = Field(default=None, description="JSON Schema: an object of string, number, integer, boolean or enum fields")
    language: str = Field(default="en-US", pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")
    voice: str | None = Field(default=None, max_length=100, description="one of the provider's")
    attempts: int = Field(default=2, ge=1, le=5, description="how often a field is asked")
    assign_to: Assignee | None = None
    ring: Duration = Field(default="45s", description="how long it rings")
    timeout: Duration = Field(default="15m", description="of all calls")
    redial: Redial | None = None
    on_no_answer: Literal["fail", "continue"] = "fail"

    @field_validator("ask")
    @classmethod
    def _flat(cls, form: Schema | None) -> Schema | None:
        if form is None:
            return None
        flat(form, "ask")
        fields: dict[str, Any] = form["properties"]
        if len(fields) > MAX_FIELDS:
            raise ValueError(f"ask has {len(fields)} fields; on the telephone at most {MAX_FIELDS} are asked")
        for name, field in fields.items():
            if len(field.get("enum", ())) > MAX_CHOICES:
                raise ValueError(f"ask field {name!r} has more than {MAX_CHOICES} choices, one for each key")
        return form

    @field_validator("ring")
    @classmethod
    def _rings(cls, ring: str) -> str:
        if not 5 <= seconds(ring) <= 600:
            raise ValueError("ring must be from 5s to 10m")
        return ring


def output(config: Config) -> Schema:
    line = {"type": "object", "properties": {"who": {"enum": ["weft", "person"]}, "text": {"type": "string"}, "at": {"type": "string"}}}
    properties: Schema = {
        "reached": {"type": "boolean"},
        "state": {"type": "string", "enum": list(STATES)},
        "answers": {"type": "null"} if config.ask is None else {**config.ask, "type": ["object", "null"]},
        "transcript": {"type": "array", "items": line},
        "duration_seconds": {"type": ["number", "null"]},
        "call_id": {"type": ["string", "null"]},
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    """The wait is there before anybody is rung up: an answer finds it, and what ends it ends the calls."""
    asking = _wait(config)
    await context.open(asking)
    try:
        call, answers = await _asked(config, context, asking)
    finally:
        context.withdraw()
    missing = answers is None if config.ask is not None else call.answered_at is None
    if missing and config.on_no_answer == "fail":
        raise Failure("voice_no_answer", f"{_why(call)} (call {call.id})", details={"call_id": call.id, "state": call.state})
    end = call.ended_at or call.now
    return {
        "reached": call.answered_at is not None,
        "state": call.state,
        "answers": answers,
        "transcript": transcript(call),
        "duration_seconds": round((end - call.answered_at).total_seconds(), 1) if call.answered_at else None,
        "call_id": call.id,
    }


def _wait(config: Config) -> Wait:
    """What the calls are a channel to: a task where something is asked, else only the time there is."""
    due = seconds(config.timeout)
    if config.ask is None:
        return Wait(kind="timer", due_in=due)
    assignee = config.assign_to.model_dump(exclude_none=True) if config.assign_to else None
    task = TaskForm(kind="input", title=config.say, description=config.say, form=config.ask, assign_to=assignee)
    return Wait(kind="task", task=task, due_in=due)


async def _asked(config: Config, context: Context, asking: Wait) -> tuple[Call, Json]:
    """The last call made, and what was answered, by whom and where it may be."""
    calls = context.calls()
    redials = config.redial.attempts if config.redial else 0
    script = Script(say=config.say, language=config.language, voice=config.voice, attempts=config.attempts, form=config.ask)
    number = 1
    while True:
        id = await calls.ring(
            number, connection=config.connection, recipient=config.to, script=script, ring=seconds(config.ring),
            longest=min(max(seconds(config.timeout), 60.0), LONGEST),
        )  # fmt: skip
        answered, answers = await _over(config, context, asking, calls, id, number)
        call = await calls.get(id)
        if answered or call.state not in ENDED or number > redials:
            return call, answers
        pause = Wait(kind="timer", due_in=seconds(config.redial.delay if config.redial else "0s"))
        key, came = await context.first_wait({f"redial:{number}": pause, "": asking})  # what came first, after a restart as well
        if not key:
            return call, _answers(config, came)
        number += 1


async def _over(config: Config, context: Context, asking: Wait, calls: Calls, id: str, number: int) -> tuple[bool, Json]:
    """Waits until the call has ended or nobody need be called any longer: whether the wait itself has ended, and the answers."""
    looks, due = 1, seconds(config.ring) + GRACE
    while True:
        key = f"call:{number}" + (f".{looks}" if looks > 1 else "")
        ended = Wait(kind="event", event_name=EVENT, correlation=id, due_in=due if looks == 1 else None)
        came, how = await context.first_wait({key: ended, "": asking})
        if not came:
            await calls.let_go(id, late=how.state == "expired" or asking.kind == "timer")
            return True, _answers(config, how)
        if how.state == "expired":
            await calls.unanswered(id)
        if (await calls.get(id)).state in OVER:
            return False, None
        looks += 1  # somebody has taken the call, and talks


def _answers(config: Config, how: Any) -> Json:
    return how.payload["answer"] if config.ask is not None and how.state == "resolved" else None


def _why(call: Call) -> str:
    if call.error:
        return f"there is no answer: {call.error}"
    if call.answered_at:
        return "there is no answer: the call ended before everything was answered"
    return ENDED.get(call.state, "nobody answered in time")
