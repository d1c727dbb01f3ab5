"""Cassettes as files for the tests of a repository: written, read, and with what is private masked so that equal values stay equal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from typing import Any

from graphs.definition import Json
from graphs.documents import is_array, is_object, is_text
from graphs.engine.cassette import Recording
from graphs.engine.recording import lines, of_lines
from store.errors import Invalid

__all__ = ["Recording", "lines", "of_lines", "redacted"]

MAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
PHONE = re.compile(r"(?<![\w.:-])\+?\d[\d ()/-]{6,}\d(?![\w.:-])")
WHOLE = 3  # characters: a shorter text is masked only where it stands alone


def redacted(recording: Recording, pointers: Iterable[str] = ()) -> Recording:
    """The recording with e-mail addresses, phone numbers and the texts at these JSON pointers masked wherever they occur, equal ones alike.
    Pointers go into {"input", "output", "env", "steps": {position: {"input", "output", "error"}}}. Raises Invalid."""
    masks = _Masks(recording)
    for pointer in pointers:
        masks.hide(pointer)
    head = replace(
        recording.head, **{name: masks.clean(getattr(recording.head, name)) for name in ("input", "output", "error", "mocks", "env")}
    )
    fields = ("input", "output", "error", "undo")
    return replace(
        recording,
        head=head,
        tried=tuple(replace(one, **{name: masks.clean(getattr(one, name)) for name in fields}) for one in recording.tried),
        waits=tuple(replace(one, payload=masks.clean(one.payload)) for one in recording.waits),
    )


class _Masks:
    def __init__(self, recording: Recording) -> None:
        self._document = _document(recording)
        self._hidden: dict[str, str] = {}
        self._seen: dict[str, str] = {}

    def hide(self, pointer: str) -> None:
        """Masks every text at and below a pointer. Raises Invalid where there is nothing, or a number."""
        texts = [*_texts(_at(self._document, pointer), pointer)]
        for text in texts:
            self._hidden.setdefault(text, f"masked-{len(self._hidden) + 1}")

    def clean(self, value: Json) -> Json:
        if is_text(value):
            return self._text(value)
        if is_object(value):
            return {name: self.clean(inner) for name, inner in value.items()}
        return [self.clean(inner) for inner in value] if is_array(value) else value

    def _text(self, text: str) -> str:
        if text in self._hidden:
            return self._hidden[text]
        for secret in sorted(self._hidden, key=len, reverse=True):
            if len(secret) > WHOLE:
                text = text.replace(secret, self._hidden[secret])
        text = MAIL.sub(self._same("person-{}@example.com"), text)
        return PHONE.sub(self._same("+000000{:06d}"), text)

    def _same(self, form: str) -> Callable[[re.Match[str]], str]:
        def mask(found: re.Match[str]) -> str:
            if found[0] in self._seen.values():
                return found[0]
            return self._seen.setdefault(found[0], form.format(len(self._seen) + 1))

        return mask


def _document(recording: Recording) -> Json:
    steps = {one.position: {"input": one.input, "output": one.output, "error": one.error} for one in recording.tried}
    return {**asdict(recording.head), "steps": steps}


def _at(document: Json, pointer: str) -> Json:
    import jsonpointer

    try:
        return jsonpointer.resolve_pointer(document, pointer)
    except jsonpointer.JsonPointerException as wrong:
        message = f"there is nothing to mask at {pointer!r}: {wrong}. Pointers begin with /input, /output, /env or /steps/<position>"
        raise Invalid(message) from None


def _texts(value: Json, pointer: str) -> Iterator[str]:
    if is_text(value):
        if value:
            yield value
    elif is_object(value):
        for name, inner in value.items():
            yield from _texts(inner, f"{pointer}/{name}")
    elif is_array(value):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{pointer}/{number}")
    elif value is not None and not isinstance(value, bool):
        raise Invalid(f"at {pointer} is a number: only text can be masked so that what is computed of it stays the same")


def summary(recording: Recording) -> dict[str, Any]:
    """What a cassette is of."""
    head = recording.head
    return {"run_id": head.id, "workflow": head.workflow, "version": head.version, "state": head.state, "attempts": len(recording.tried)}
