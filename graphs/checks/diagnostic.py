"""What a check says: one finding with its place, its reason and, where one exists, the JSON Patch that repairs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from graphs.definition import Definition, Json

Operation = dict[str, Any]  # of a JSON Patch, RFC 6902


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One problem. `pointer` (RFC 6901) always resolves in the document; what is missing is named in the message."""

    code: str
    severity: Literal["error", "warning"] = "error"
    pointer: str
    message: str
    expected: str | None = None
    suggestions: tuple[str, ...] = ()
    patch: tuple[Operation, ...] = ()

    def as_json(self) -> dict[str, Json]:
        """As shown at every door; empty parts are left out."""
        found: dict[str, Json] = {
            "code": self.code,
            "severity": self.severity,
            "pointer": self.pointer,
            "message": self.message,
        }
        if self.expected is not None:
            found["expected"] = self.expected
        if self.suggestions:
            found["suggestions"] = list(self.suggestions)
        if self.patch:
            found["patch"] = list(self.patch)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that a check found, errors first, causes before what follows from them."""

    diagnostics: tuple[Diagnostic, ...]
    definition: Definition | None = None

    @property
    def ok(self) -> bool:
        """No errors; there may be warnings."""
        return self.definition is not None

    def as_json(self) -> dict[str, Json]:
        return {"ok": self.ok, "diagnostics": [diagnostic.as_json() for diagnostic in self.diagnostics]}


def add(path: str, value: Json) -> Operation:
    return {"op": "add", "path": path, "value": value}


def replace(path: str, value: Json) -> Operation:
    return {"op": "replace", "path": path, "value": value}


def remove(path: str) -> Operation:
    return {"op": "remove", "path": path}


def move(source: str, path: str) -> Operation:
    return {"op": "move", "from": source, "path": path}


def joined(pointer: str, *parts: str | int) -> str:
    """The pointer with further steps, escaped."""
    if len(parts) == 1 and isinstance(parts[0], str) and parts[0].isidentifier():
        return f"{pointer}/{parts[0]}"
    return pointer + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def quoted(value: Json, limit: int = 60) -> str:
    """A short form of a value for a message."""
    if isinstance(value, int) and not -(10**300) < value < 10**300:
        return "a number of hundreds of digits"
    text = repr(value) if isinstance(value, (str, int, float, bool, type(None))) else f"a value of {len(value)} parts"
    return text if len(text) <= limit else text[: limit - 1] + "…"
