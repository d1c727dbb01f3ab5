"""One piece of a document against its model: every complaint of pydantic as a finding with its place and its repair."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from graphs.catalogue import node_types
from graphs.checks import repairs
from graphs.checks.diagnostic import Diagnostic, Operation, add, joined, move, quoted, remove, replace
from graphs.checks.models import at, existing, field_names, hint_at, is_duration, is_model, required
from graphs.checks.reshaping import mended_boundary, reshaped
from graphs.definition import Body, Compensate, Definition, Edge, Expression, Json, Node
from graphs.documents import is_object

MAX_PROBLEMS = 50  # of one piece; each may need a search for the nearest name
WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}
GIVEN: dict[type, str] = {type(None): "null", bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of the document that has a model of its own."""

    model: type[BaseModel]
    value: dict[str, Json]  # what is validated; bodies inside are stubs
    pointer: str
    name: str  # what to call it
    elsewhere: Mapping[str, str] = field(default_factory=dict[str, str])  # name that belongs to another place -> pointer there
    before: tuple[Operation, ...] = ()  # needed before anything can be moved there
    coming: frozenset[str] = frozenset()  # fields that are not here, but written in another place and reported there


def fit(piece: Piece) -> Iterator[Diagnostic]:
    """What is wrong with a piece; nothing where it fits its model."""
    try:
        piece.model.model_validate(piece.value)
        return
    except ValidationError as error:
        problems = error.errors(include_url=False)[:MAX_PROBLEMS]
    except TypeError as error:
        message = f"{piece.name} has a template where none is possible: {error}"
        yield Diagnostic(code="bad_value", pointer=piece.pointer, message=message[:300])
        return
    unknown = [problem for problem in problems if problem["type"] == "extra_forbidden"]
    found: list[Diagnostic] = []
    covered: set[tuple[int | str, ...]] = set()  # missing fields that an unknown one stands for
    found.extend(_misplaced(piece, [problem for problem in unknown if _is_misplaced(piece, problem)]))
    for problem in unknown:
        if not _is_misplaced(piece, problem):
            found.append(_unknown_field(piece, problem, covered))
    for problem in problems:
        if problem["type"] == "extra_forbidden" or problem["loc"] in covered:
            continue
        if not (piece.coming and problem["loc"][:1] in ((), *((name,) for name in piece.coming))):
            found.append(_missing(piece, problem) if problem["type"] == "missing" else _wrong(piece, problem))
    seen: set[tuple[str, str]] = set()
    for diagnostic in found:
        if (diagnostic.pointer, diagnostic.code) not in seen:  # the alternatives of a union each complain
            seen.add((diagnostic.pointer, diagnostic.code))
            yield diagnostic


def _is_misplaced(piece: Piece, problem: ErrorDetails) -> bool:
    return len(problem["loc"]) == 1 and problem["loc"][0] in piece.elsewhere


def _misplaced(piece: Piece, problems: list[ErrorDetails]) -> Iterator[Diagnostic]:
    """Fields of the config written beside it, or the other way round: one finding, one patch for all of them."""
    if not problems:
        return
    names = [str(problem["loc"][0]) for problem in problems]
    targets = [piece.elsewhere[name] for name in names]
    down = targets[0].startswith(piece.pointer + "/config/")
    where = "inside `config`" if down else "beside `config`, not inside it"
    yield Diagnostic(
        code="misplaced_field",
        pointer=joined(piece.pointer, names[0]),
        message=f"{', '.join(map(repr, names))} of {piece.name} must stand {where}",
        patch=(*piece.before, *(move(joined(piece.pointer, name), to) for name, to in zip(names, targets, strict=True))),
    )


def _unknown_field(piece: Piece, problem: ErrorDetails, covered: set[tuple[int | str, ...]]) -> Diagnostic:
    *path, last = problem["loc"]
    holder = at(piece.value, path)
    model = hint_at(piece.model, path)
    known = field_names(model) if is_model(model) else ()
    present = list(holder) if is_object(holder) else []
    place = joined(piece.pointer, *path)
    if (other := repairs.translated(str(last), at(holder, [last]), known)) and other[0] not in present:
        covered.add((*path, other[0]))
        patch = (remove(joined(place, last)), add(joined(place, other[0]), other[1]))
        message = f"{piece.name} has no field {str(last)!r}; say it as {other[0]}: {quoted(other[1])}"
        return Diagnostic(code="unknown_field", pointer=joined(place, last), message=message, suggestions=(other[0],), patch=patch)
    close = repairs.meant(str(last), known, present)
    if close:
        covered.add((*path, close[0]))
    hint = f"did you mean {close[0]!r}?" if close else f"its fields are {', '.join(known)}"
    name = piece.name if not path else f"{'.'.join(map(str, path))} in {piece.name}"
    return Diagnostic(
        code="unknown_field",
        pointer=joined(place, last),
        message=f"{name} has no field {str(last)!r}; {hint}",
        expected="one of " + ", ".join(known) if known else None,
        suggestions=tuple(close),
        patch=(move(joined(place, last), joined(place, close[0])) if close else remove(joined(place, last)),),
    )


def _missing(piece: Piece, problem: ErrorDetails) -> Diagnostic:
    *path, last = problem["loc"]
    path = existing(piece.value, path)
    name = piece.name if not path else f"{'.'.join(map(str, path))} in {piece.name}"
    sample = _sample(piece, path, str(last))
    place = joined(piece.pointer, *path)
    patch: tuple[Operation, ...] = ()
    if sample is not repairs.NOTHING:
        inside = place if piece.pointer.endswith("/config") or not _is_config(piece) else f"{place}/config"
        patch = (*([add(inside, {})] if inside != place else []), add(joined(inside, last), sample))
    message = f"{name} needs the field {str(last)!r}"
    return Diagnostic(code="missing_field", pointer=place, message=message, expected=str(last), patch=patch)


def _is_config(piece: Piece) -> bool:
    return piece.model not in (Definition, Body, Node, Edge, Compensate)


def _sample(piece: Piece, path: list[int | str], name: str) -> Any:
    """A value for a missing field: from the examples of the node type, or a neutral one where nothing is at stake."""
    if piece.model is Definition and name == "name":
        return repairs.slug(str(piece.value.get("description") or "workflow"), separator="-", limit=40) or "workflow"
    return _from_examples(piece.model, name) if _is_config(piece) and not path else repairs.NOTHING


def _from_examples(model: type[BaseModel], name: str) -> Any:
    kind = next(kind for kind in node_types().values() if kind.config is model)
    return next((example[name] for example in kind.examples if name in example), repairs.NOTHING)


def _wrong(piece: Piece, problem: ErrorDetails) -> Diagnostic:
    path = existing(piece.value, problem["loc"])
    value = at(piece.value, path)
    place = joined(piece.pointer, *path)
    name = f"{'.'.join(map(str, path))} of {piece.name}" if path else piece.name
    kind, hint = problem["type"], hint_at(piece.model, path)
    if kind in WANTED:
        wanted = WANTED[kind]
        if value is None and path and not required(piece.model, path):
            fixed: Any = repairs.NOTHING
            patch: tuple[Operation, ...] = (remove(place),)
        else:
            fixed = reshaped(hint, value)
            if fixed is repairs.NOTHING:
                fixed = repairs.converted(kind, value, duration=is_duration(hint), body=hint is Body, expression=hint == Expression)
            patch = () if fixed is repairs.NOTHING else (replace(place, fixed),)
        message = f"{name} must be {wanted}, not {given(value)}"
        return Diagnostic(code="wrong_type", pointer=place, message=message, expected=wanted, patch=patch)
    return _bad_value(piece, problem, place, name, value)


def _bad_value(piece: Piece, problem: ErrorDetails, place: str, name: str, value: Json) -> Diagnostic:
    """A value of the right kind that is not allowed."""
    context = problem.get("ctx", {})
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ").rstrip(".")
    fixed: Any = repairs.NOTHING
    expected, suggestions = None, ()
    patch = mended_boundary(hint_at(piece.model, existing(piece.value, problem["loc"])), value, message, place)
    match problem["type"]:
        case "literal_error":
            allowed = [word.strip("'\"") for word in re.findall(r"'[^']*'|\d+", str(context.get("expected", "")))]
            close = repairs.meant(str(value), allowed)
            expected, suggestions = "one of " + ", ".join(allowed), tuple(close)
            fixed = (close or allowed or [repairs.NOTHING])[0]
            message = f"must be one of {', '.join(allowed)}, not {quoted(value)}"
            patch = _retry_instead(piece, place, value)
        case "string_pattern_mismatch":
            expected = str(context.get("pattern"))
            dashes = "_-" in expected
            tried = repairs.slug(str(value), separator="-" if dashes else "_", limit=40 if dashes else 48)
            fixed = tried if re.search(expected, tried) else repairs.NOTHING
            message = f"{quoted(value)} may hold only small letters, digits and {'- or _' if dashes else '_'}"
        case "greater_than_equal" | "less_than_equal":
            fixed = context.get("ge", context.get("le", repairs.NOTHING))
        case "value_error" if (found := repairs.duration(value)) and "duration" in message:
            fixed = found
        case _:
            pass
    patch = patch or (() if fixed is repairs.NOTHING else (replace(place, fixed),))
    text = f"{name}: {message}"
    return Diagnostic(code="bad_value", pointer=place, message=text[:500], expected=expected, suggestions=suggestions, patch=patch)


def _retry_instead(piece: Piece, place: str, value: Json) -> tuple[Operation, ...]:
    """`on_error: retry`: what comes after the retries is another question."""
    if piece.model is not Node or place != f"{piece.pointer}/on_error" or "retry" not in str(value).lower():
        return ()
    return (remove(place), *(() if "retry" in piece.value else (add(f"{piece.pointer}/retry", {"max_attempts": 3}),)))


def given(value: object) -> str:
    """What kind of value this is, for a message."""
    return GIVEN.get(type(value), "an object")
