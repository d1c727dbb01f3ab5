"""Fields and their kinds: each piece of the document against its own model, so that one broken piece hides no other."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from graphs.checks import repairs
from graphs.checks.diagnostic import Diagnostic, Operation, add, joined, move, quoted, remove, replace
from graphs.checks.view import GroupView, NodeView, View, aliases, field_names, is_model
from graphs.definition import Body, Definition, Edge, Json, Node
from graphs.documents import is_array, is_object
from graphs.nodetype import NodeType

MAX_NODES = 2000
STUB = {"nodes": [{"id": "stub", "type": "stub"}]}
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
GIVEN = {type(None): "null", bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}


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


def check_structure(view: View) -> Iterator[Diagnostic]:
    """All pieces in the document's order. Configs that are valid are kept in the view, and the definition if all of it is."""
    wrapped = [(key, inner) for key, inner in view.document.items() if is_object(inner) and "nodes" in inner]
    if "nodes" not in view.document and len(wrapped) == 1:
        (key, inner) = wrapped[0]
        message = f"the workflow stands inside {key!r}; it must be the document itself"
        yield Diagnostic(code="unknown_field", pointer=joined("", key), message=message, patch=(replace("", inner),))
        return
    try:
        view.definition = Definition.model_validate(view.document)
    except ValidationError:
        root = {**view.document, **STUB, "edges": []}
        yield from _fit(Piece(model=Definition, value=root, pointer="", name="the workflow"))
    if len(view.nodes) > MAX_NODES:
        message = f"the workflow has {len(view.nodes)} nodes, counting those in groups; {MAX_NODES} are allowed"
        yield Diagnostic(code="too_large", pointer="/nodes", message=message)
    for group in view.groups:
        if not (_fits(Body, group.raw) if group.owner else view.definition):
            yield from _check_group(group)
        edges = [(edge.raw, edge.pointer) for edge in group.edges]
        yield from _inner_names(Edge, edges, "the edge")
        for node in group.nodes:
            if node.kind:
                name = f"the config of node {node.label} ({node.type})"
                yield from _inner_names(node.kind.config, [(node.raw_config, f"{node.pointer}/config")], name)
            if node.kind and (is_object(node.raw.get("config")) or "config" not in node.raw):
                yield from _check_config(node, node.kind)


def _inner_names(model: type[BaseModel], values: list[tuple[dict[str, Json], str]], name: str) -> Iterator[Diagnostic]:
    """Models let their Python names pass (`source` for `from`); a document has one spelling. The first patch repairs them all."""
    wrong = {inner: alias for inner, alias in aliases(model).items() if inner not in field_names(model)}
    found = [(value, pointer, inner) for value, pointer in values for inner in wrong if inner in value]
    patch: list[Operation] = []
    for value, pointer, inner in found:
        place, target = joined(pointer, inner), joined(pointer, wrong[inner])
        patch.append(remove(place) if wrong[inner] in value else move(place, target))
    for number, (_, pointer, inner) in enumerate(found):
        yield Diagnostic(
            code="unknown_field",
            pointer=joined(pointer, inner),
            message=f"{name} has no field {inner!r}; did you mean {wrong[inner]!r}?",
            suggestions=(wrong[inner],),
            patch=() if number else tuple(patch),
        )


def _fits(model: type[BaseModel], value: dict[str, Json]) -> bool:
    try:
        model.model_validate(value)
    except ValidationError:
        return False
    return True


def _check_group(group: GroupView) -> Iterator[Diagnostic]:
    """A body in which something is wrong, piece by piece."""
    if group.owner:
        if "nodes" not in group.raw and "type" in group.raw:
            message = "a body is an object with `nodes`; this is a single node"
            patch = (replace(group.pointer, {"nodes": [group.raw]}),)
            yield Diagnostic(code="wrong_type", pointer=group.pointer, message=message, patch=patch)
            return
        value = {**group.raw, **STUB, "edges": []}
        name = f"the body in node {group.owner.label}"
        yield from _fit(Piece(model=Body, value=value, pointer=group.pointer, name=name))
    yield from _check_list(group, "nodes")
    yield from _check_list(group, "edges")
    for node in group.nodes:
        yield from _check_node(node)
    for edge in group.edges:
        yield from _fit(Piece(model=Edge, value=edge.raw, pointer=edge.pointer, name="the edge"))


def _check_list(group: GroupView, name: str) -> Iterator[Diagnostic]:
    """`nodes` must be a list of objects with something in it, `edges` may be missing."""
    pointer, found = f"{group.pointer}/{name}", group.raw.get(name)
    if name not in group.raw:
        known = field_names(Definition)
        given = [other for other in group.raw if other not in known and repairs.meant(other, ["nodes"])]
        if name == "nodes" and not given:
            message = "`nodes` is missing: a workflow, and a body, is an object with a list of nodes and a list of edges"
            patch = (add(pointer, [{"id": "first", "type": "set", "config": {"values": {}}}]),)
            yield Diagnostic(code="missing_field", pointer=group.pointer, message=message, expected="nodes", patch=patch)
    elif not is_array(found):
        patch: tuple[Operation, ...] = ()
        if is_object(found) and name == "nodes":
            named = all(is_object(inner) and "id" not in inner for inner in found.values())
            listed = [{"id": id, **inner} for id, inner in found.items()] if named else [found]
            patch = (replace(pointer, listed),)
        elif is_object(found) or found is None:
            patch = (replace(pointer, [found] if found else []),)
        yield Diagnostic(code="wrong_type", pointer=pointer, message=f"`{name}` must be a list", expected="a list", patch=patch)
    elif name == "nodes" and not found:
        patch = (add(f"{pointer}/-", {"id": "first", "type": "set", "config": {"values": {}}}),)
        yield Diagnostic(code="missing_field", pointer=pointer, message="there must be at least one node", patch=patch)
    else:
        for number, inner in enumerate(found):
            if not is_object(inner):
                message = f"this must be an object, not {_given(inner)}"
                patch = (remove(f"{pointer}/{number}"),)
                yield Diagnostic(code="wrong_type", pointer=f"{pointer}/{number}", message=message, patch=patch)


def _check_node(node: NodeView) -> Iterator[Diagnostic]:
    piece = Piece(
        model=Node,
        value=node.raw,
        pointer=node.pointer,
        name=f"node {node.label}",
        elsewhere=_misplaced_in_node(node),
        before=() if "config" in node.raw else (add(f"{node.pointer}/config", {}),),
    )
    for diagnostic in _fit(piece):
        if diagnostic.pointer != f"{node.pointer}/id" and diagnostic.expected not in ("id", "type"):  # checks/nodes.py
            yield diagnostic


def _misplaced_in_node(node: NodeView) -> dict[str, str]:
    """Fields of the config that may stand beside it by mistake -> where they belong."""
    if node.kind is None:
        return {}
    fields = set(field_names(node.kind.config)) - set(field_names(Node)) - set(node.raw_config)
    return {name: f"{node.pointer}/config/{name}" for name in fields}


def _check_config(node: NodeView, kind: NodeType) -> Iterator[Diagnostic]:
    try:
        node.config = kind.config.model_validate(node.raw_config)
        return
    except (ValidationError, TypeError):  # TypeError: pydantic's, for a template in a field whose limits stand outside Templated
        pass
    coming = frozenset(name for name in node.raw if name in _misplaced_in_node(node))
    up = set(field_names(Node)) - set(node.raw) - set(field_names(kind.config))
    piece = Piece(
        model=kind.config,
        value=_stubbed(node.raw_config, [*node.bodies]),
        pointer=f"{node.pointer}/config" if "config" in node.raw else node.pointer,
        name=f"the config of node {node.label} ({node.type})",
        elsewhere={name: f"{node.pointer}/{name}" for name in up},
        coming=coming,
    )
    yield from _fit(piece)


def _stubbed(config: dict[str, Json], pointers: list[str]) -> dict[str, Json]:
    result: Any = dict(config)
    for pointer in pointers:
        *path, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
        place = result
        for step in path:
            key: Any = int(step) if is_array(place) else step
            place[key] = place[key].copy()
            place = place[key]
        place[int(last) if is_array(place) else last] = STUB
    return result


def _fit(piece: Piece) -> Iterator[Diagnostic]:
    try:
        piece.model.model_validate(piece.value)
        return
    except ValidationError as error:
        problems = error.errors(include_url=False)
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
    holder = _at(piece.value, path)
    model = _hint_at(piece.model, path)
    known = field_names(model) if is_model(model) else []
    given = list(holder) if is_object(holder) else []
    close = repairs.meant(str(last), known, given)
    place = joined(piece.pointer, *path)
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
    path = _existing(piece.value, path)
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
    return piece.model not in (Definition, Body, Node, Edge)


def _sample(piece: Piece, path: list[int | str], name: str) -> Any:
    """A value for a missing field: from the examples of the node type, or a neutral one where nothing is at stake."""
    if piece.model is Definition and name == "name":
        return repairs.slug(str(piece.value.get("description") or "workflow"), separator="-", limit=40) or "workflow"
    return _from_examples(piece.model, name) if _is_config(piece) and not path else repairs.NOTHING


def _from_examples(model: type[BaseModel], name: str) -> Any:
    from graphs.catalogue import node_types

    kind = next(kind for kind in node_types().values() if kind.config is model)
    return next((example[name] for example in kind.examples if name in example), repairs.NOTHING)


def _wrong(piece: Piece, problem: ErrorDetails) -> Diagnostic:
    path = _existing(piece.value, problem["loc"])
    value = _at(piece.value, path)
    place = joined(piece.pointer, *path)
    name = f"{'.'.join(map(str, path))} of {piece.name}" if path else piece.name
    kind, hint = problem["type"], _hint_at(piece.model, path)
    if kind in WANTED:
        wanted = WANTED[kind]
        if value is None and path and not _required(piece.model, path):
            fixed: Any = repairs.NOTHING
            patch: tuple[Operation, ...] = (remove(place),)
        else:
            fixed = repairs.converted(kind, value, duration=repairs.is_duration(hint), body=_is_body(hint))
            patch = () if fixed is repairs.NOTHING else (replace(place, fixed),)
        message = f"{name} must be {wanted}, not {_given(value)}"
        return Diagnostic(code="wrong_type", pointer=place, message=message, expected=wanted, patch=patch)
    return _bad_value(piece, problem, place, name, value)


def _bad_value(piece: Piece, problem: ErrorDetails, place: str, name: str, value: Json) -> Diagnostic:
    """A value of the right kind that is not allowed."""
    context = problem.get("ctx", {})
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ").rstrip(".")
    fixed: Any = repairs.NOTHING
    expected, suggestions = None, ()
    match problem["type"]:
        case "literal_error":
            allowed = [word.strip("'\"") for word in re.findall(r"'[^']*'|\d+", str(context.get("expected", "")))]
            close = repairs.meant(str(value), allowed)
            expected, suggestions = "one of " + ", ".join(allowed), tuple(close)
            fixed = (close or allowed or [repairs.NOTHING])[0]
            message = f"must be one of {', '.join(allowed)}, not {quoted(value)}"
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
    patch = () if fixed is repairs.NOTHING else (replace(place, fixed),)
    text = f"{name}: {message}"
    return Diagnostic(
        code="bad_value", pointer=place, message=text[:500], expected=expected, suggestions=suggestions, patch=patch
    )


def _at(value: Json, path: list[int | str]) -> Json:
    for step in path:
        value = value[step]
    return value


def _existing(value: Json, path: tuple[int | str, ...] | list[int | str]) -> list[int | str]:
    """The part of a pydantic location that is in the document; labels of union alternatives are not."""
    found: list[int | str] = []
    for step in path:
        if (is_object(value) and step in value) or (is_array(value) and isinstance(step, int) and step < len(value)):
            value = value[step]
            found.append(step)
    return found


def _given(value: Json) -> str:
    return GIVEN.get(type(value), "an object")


def _hint_at(model: Any, path: list[int | str]) -> Any:
    """The type at a location inside a model, as far as it can be told."""
    hint = model
    for step in path:
        hint = _unwrapped(hint)
        if is_model(hint):
            name = next((name for name, field in hint.model_fields.items() if step in (name, field.alias)), None)
            hint = typing.get_type_hints(hint, include_extras=True)[name] if name else None
        elif typing.get_origin(hint) is dict:
            hint = typing.get_args(hint)[1]
        elif typing.get_origin(hint) in (list, tuple):
            hint = typing.get_args(hint)[0]
        else:
            return None
    return _unwrapped(hint)


def _unwrapped(hint: Any) -> Any:
    """Without Optional and without the marks of Templated."""
    if typing.get_origin(hint) is typing.Annotated and not repairs.is_duration(hint):
        return _unwrapped(typing.get_args(hint)[0])
    rest = [part for part in typing.get_args(hint) if part is not type(None)]
    return _unwrapped(rest[0]) if type(None) in typing.get_args(hint) and len(rest) == 1 else hint


def _is_body(hint: Any) -> bool:
    return hint is Body


def _required(model: type[BaseModel], path: list[int | str]) -> bool:
    owner = _hint_at(model, path[:-1])
    if not is_model(owner):
        return True
    return any(field.is_required() for name, field in owner.model_fields.items() if path[-1] in (name, field.alias))
