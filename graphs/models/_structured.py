"""Answers that must have a form: the schema as models take it, reading answers and tool calls, and the words that ask for better ones."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from graphs.definition import Json, Schema
from graphs.inputs import problems
from graphs.models._messages import Reply, ToolCall, ToolSpec, Wish
from graphs.outbound import parse_json

FENCE = re.compile(r"\A\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """`wanted` is the author's schema. Vendors take schemas of objects only, so anything else goes into a field `value`."""

    wanted: Schema
    schema: Schema
    wrapped: bool

    @classmethod
    def of(cls, wanted: Schema) -> Shape:
        if wanted.get("type") == "object":
            return cls(wanted=wanted, schema=wanted, wrapped=False)
        inner = {key: part for key, part in wanted.items() if key not in ("$defs", "$schema")}
        schema: Schema = {"type": "object", "properties": {"value": inner}, "required": ["value"], "additionalProperties": False}
        if "$defs" in wanted:
            schema["$defs"] = wanted["$defs"]  # "#/$defs/…" is resolved from the root
        return cls(wanted=wanted, schema=schema, wrapped=True)

    def read(self, text: str) -> tuple[Json, str]:
        """The value in the author's shape, and what is wrong with it ("" when nothing is)."""
        try:
            value = parse(text)
        except ValueError as wrong:
            return None, f"not JSON ({wrong})"
        if self.wrapped:
            if not isinstance(value, dict) or "value" not in value:
                return None, 'not an object with a field "value"'
            value = cast(dict[str, Json], value)["value"]
        found = problems(self.wanted, value)
        return value, "; ".join(f"{item['pointer'] or '/'}: {item['message']}" for item in found)

    def mend(self, wrong: str) -> str:
        """The words that ask for a better answer."""
        schema = json.dumps(self.schema)
        return f"That does not fit the schema: {wrong}.\nAnswer again with only the corrected JSON. The schema: {schema}"


def parse(text: str) -> Json:
    """JSON, also when the model put it into a code fence. Raises ValueError."""
    fenced = FENCE.match(text)
    return parse_json(fenced[1] if fenced else text)


def read(reply: Reply, tools: Sequence[ToolSpec], shape: Shape | None) -> tuple[tuple[ToolCall, ...], Json, str]:
    """The tool calls or the value of an answer, and what is wrong with it ("" when nothing is)."""
    if reply.calls:
        calls, wrong = read_calls(reply.calls, tools)
        return calls, None, wrong
    value, wrong = shape.read(reply.text) if shape is not None else (None, "")
    return (), value, wrong


def read_calls(wishes: Sequence[Wish], tools: Sequence[ToolSpec]) -> tuple[tuple[ToolCall, ...], str]:
    """The calls a model asks for, and the words that ask for better ones ("" when all can be made)."""
    calls: list[ToolCall] = []
    wrong: list[str] = []
    for number, wish in enumerate(wishes, 1):
        if not any(tool.name == wish.name for tool in tools):
            wrong.append(f"there is no tool {wish.name[:100]!r}; there are {', '.join(tool.name for tool in tools) or 'none'}")
            continue
        try:
            arguments = parse_json(wish.arguments.strip() or "{}")
        except ValueError as error:
            wrong.append(f"the arguments of {wish.name} are not JSON ({error})")
            continue
        if not isinstance(arguments, dict):
            wrong.append(f"the arguments of {wish.name} are not a JSON object")
            continue
        calls.append(ToolCall(id=wish.id or f"call_{number}", name=wish.name, arguments=cast("dict[str, Json]", arguments)))
    said = f"None of your tool calls was made: {'; '.join(wrong)}.\nMake them again, all of them, corrected."
    return ((), said) if wrong else (tuple(calls), "")
