"""What was said so far. The journal keeps with every turn what is new in it and names the rest by a digest, so that it grows with the
transcript and not with its square; the whole is built again from the outputs of the steps."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from graphs.definition import Json
from store import jsontext

Said = dict[str, Any]  # a message as graphs.models.Message.to_json gives it


class Transcript:
    """Messages in order, what is new since the model was last asked, and the names of calls."""

    def __init__(self) -> None:
        self.messages: list[Said] = []
        self._told = 0  # messages that an earlier turn has recorded
        self._digest = hashlib.sha256()
        self._ids: set[str] = set()

    def say(self, role: str, text: str, **more: Json) -> None:
        said: Said = whole({"role": role, "text": text, **more})
        self.messages.append(said)

    def name_calls(self, calls: list[dict[str, Any]], turn: int) -> list[dict[str, Any]]:
        """The calls of a turn under ids that no other has."""
        named: list[dict[str, Any]] = []
        for number, call in enumerate(calls, 1):
            id = str(call.get("id") or "")[:100]
            if not id or id in self._ids:
                id = f"turn_{turn}_call_{number}"
            self._ids.add(id)
            named.append({"id": id, "name": str(call["name"]), "arguments": call.get("arguments") or {}})
        return named

    def new(self) -> dict[str, Json]:
        """What the journal keeps of a turn: the messages that no turn before it had, and a digest of those that one had."""
        earlier, fresh = self._told, self.messages[self._told :]
        digest = self._digest.hexdigest()
        for said in fresh:
            self._digest.update(jsontext.text(said).encode() + b"\n")
        self._told = len(self.messages)
        return {"messages": fresh, "earlier": {"count": earlier, "digest": digest}}


def whole(value: Any) -> Any:
    """The value with U+FFFD for each half of a surrogate pair: JSON may say one, and nothing that is sent can."""
    if "\\ud" not in jsontext.text(value):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
