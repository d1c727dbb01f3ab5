"""Every place of a document where text is code: expressions, the holes of templates, scripts and the conditions of edges."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from graphs.catalogue import node_types
from graphs.checks.diagnostic import Diagnostic, joined, quoted, replace
from graphs.checks.models import parts
from graphs.checks.repairs import path_like
from graphs.checks.view import EdgeView, GroupView, NodeView, View
from graphs.definition import Json
from graphs.documents import is_array, is_object
from graphs.expressions import ExpressionError
from graphs.expressions.template import Hole, split
from graphs.nodetype import NodeType

MAX_SITES = 10_000
FOREIGN_HOLE = re.compile(r"\$\{\{?\s*((?:input|nodes|vars|run|env|item)\b[^{}]*?)\s*\}\}?")
SINGLE_HOLE = re.compile(r"(?<![{$])\{\s*((?:input|nodes|vars)\.[\w.\[\]'\"]+)\s*\}(?!\})")


@dataclass(frozen=True, slots=True)
class Early:
    """A moment at which some names have no value yet."""

    hidden: tuple[str, ...]
    message: str


BEFORE_NODES = Early(
    ("vars", "nodes", "errors"), "the first values of `vars` are worked out before any node has run; only input, run and env are there"
)
BEFORE_RUN = Early(("vars", "nodes", "errors", "run"), "this is worked out when the run is started; only input and env are there")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A piece of code, and where it stands."""

    kind: Literal["expression", "hole", "code"]
    text: str  # the code
    whole: str  # the string it stands in; the same but for holes
    pointer: str  # of that string
    group: GroupView
    node: NodeView | None = None  # None in the workflow's output, its first variables and its settings
    edge: EdgeView | None = None
    hole: Hole | None = None
    early: Early | None = None
    after: bool = False  # evaluated when the node has succeeded, so that its own output is there
    config: dict[str, Json] | None = None  # where it stands, if that is a config

    def with_code(self, code: str) -> str:
        """The whole string with other code in this place."""
        if self.hole is None:
            return code
        return f"{self.whole[: self.hole.start]}{{{{ {code} }}}}{self.whole[self.hole.end :]}"


def find_sites(view: View) -> tuple[list[Site], list[Diagnostic]]:
    """All places, and what is wrong with the templates themselves."""
    sites: list[Site] = []
    problems: list[Diagnostic] = []
    for group in view.groups:
        if len(sites) > MAX_SITES:
            break
        for node in group.nodes:
            _in_node(node, sites, problems)
        for edge in group.edges:
            when = edge.raw.get("when")
            if isinstance(when, str):
                source = group.by_id.get(edge.source or "")
                sites.append(
                    Site(
                        kind="expression",
                        text=when,
                        whole=when,
                        pointer=f"{edge.pointer}/when",
                        group=group,
                        node=source,
                        edge=edge,
                    )
                )
    for name, early in (("output", None), ("vars", BEFORE_NODES)):
        if name in view.document:
            _in_template(view.document[name], f"/{name}", _Place(view.root, early=early), sites, problems)
    _in_settings(view, sites, problems)
    if len(sites) > MAX_SITES:
        message = f"the workflow has more than {MAX_SITES:,} expressions"
        return [], [Diagnostic(code="too_large", pointer="", message=message)]
    return sites, problems


@dataclass(frozen=True, slots=True)
class _Place:
    group: GroupView
    node: NodeView | None = None
    early: Early | None = None
    after: bool = False
    config: dict[str, Json] | None = None


def _in_settings(view: View, sites: list[Site], problems: list[Diagnostic]) -> None:
    settings = view.document.get("settings")
    if not is_object(settings):
        return
    place = _Place(view.root, early=BEFORE_RUN)
    concurrency = settings.get("concurrency")
    if is_object(concurrency):
        _in_template(concurrency.get("key"), "/settings/concurrency/key", place, sites, problems)
    _in_template(settings.get("deadline"), "/settings/deadline", place, sites, problems)


def _in_node(node: NodeView, sites: list[Site], problems: list[Diagnostic]) -> None:
    if node.kind:
        config = node.raw_config
        _in_config(node.kind, config, f"{node.pointer}/config", _Place(node.group, node, config=config), sites, problems)
    if "milestone" in node.raw:
        _in_template(node.raw["milestone"], f"{node.pointer}/milestone", _Place(node.group, node, after=True), sites, problems)
    for number in node.boundaries.values() if "boundary" in node.raw else ():
        pointer = f"{node.pointer}/boundary/{number}/correlation"
        _in_template(node.raw["boundary"][number].get("correlation"), pointer, _Place(node.group, node), sites, problems)
    undo = node.compensation
    if undo is not None and (kind := node_types().get(str(undo.get("type")))) and is_object(undo.get("config")):
        config = undo["config"]
        place = _Place(node.group, node, after=True, config=config)
        _in_config(kind, config, f"{node.pointer}/compensate/config", place, sites, problems)


def _in_config(kind: NodeType, config: dict[str, Json], pointer: str, place: _Place, sites: list[Site], problems: list[Diagnostic]) -> None:
    for part in parts(kind.config, config):
        if part.kind == "template":
            _in_template(part.value, pointer + part.pointer, place, sites, problems)
        elif part.kind in ("expression", "code") and isinstance(part.value, str):
            sites.append(
                Site(
                    kind="expression" if part.kind == "expression" else "code",
                    text=part.value,
                    whole=part.value,
                    pointer=pointer + part.pointer,
                    group=place.group,
                    node=place.node,
                    after=place.after,
                    config=config,
                )
            )


def _in_template(value: Json, pointer: str, place: _Place, sites: list[Site], problems: list[Diagnostic]) -> None:
    if is_object(value):
        for key, inner in value.items():
            if "{{" in key:
                message = f"the key {quoted(key)} is not rendered: only values are templates"
                problems.append(Diagnostic(code="bad_template", severity="warning", pointer=pointer, message=message))
            _in_template(inner, joined(pointer, key), place, sites, problems)
    elif is_array(value):
        for number, inner in enumerate(value):
            _in_template(inner, f"{pointer}/{number}", place, sites, problems)
    elif isinstance(value, str):
        if "{{" in value and not ("${" in value and FOREIGN_HOLE.search(value)):
            _in_text(value, pointer, place, sites, problems)
        elif "{" in value or "." in value or "[" in value:
            problems.extend(_forgotten(value, pointer))


def _in_text(text: str, pointer: str, place: _Place, sites: list[Site], problems: list[Diagnostic]) -> None:
    try:
        holes = [part for part in split(text) if isinstance(part, Hole)]
    except ExpressionError as error:
        fixed = _closed(text)
        patch = (replace(pointer, fixed),) if fixed else ()
        problems.append(Diagnostic(code="bad_template", pointer=pointer, message=f"{error.message}: {quoted(text)}", patch=patch))
        return
    for hole in holes:
        sites.append(
            Site(
                kind="hole",
                text=hole.text,
                whole=text,
                pointer=pointer,
                group=place.group,
                node=place.node,
                hole=hole,
                early=place.early,
                after=place.after,
                config=place.config,
            )
        )


def _closed(text: str) -> str | None:
    """The template with the braces that were meant: `{{ x }` and `{{ x` closed, an empty hole dropped."""
    for tried in (
        re.sub(r"\{\{([^{}]*)\}(?!\})", r"{{\1}}", text),
        text.rstrip() + ("}" if text.rstrip().endswith("}") else " }}"),
        re.sub(r"\{\{\s*\}\}", "", text),
    ):
        try:
            if tried != text and split(tried):
                return tried
        except ExpressionError:
            continue
    return None


def _forgotten(text: str, pointer: str) -> Iterator[Diagnostic]:
    """A text that looks as if a hole was meant."""
    if path_like(text):
        yield _was_meant(pointer, text, "{{ " + text.strip() + " }}", severity="warning")
    elif FOREIGN_HOLE.search(text):
        yield _was_meant(pointer, text, FOREIGN_HOLE.sub(r"{{ \1 }}", text), severity="error")
    elif SINGLE_HOLE.search(text):
        yield _was_meant(pointer, text, SINGLE_HOLE.sub(r"{{ \1 }}", text), severity="warning")


def _was_meant(pointer: str, text: str, fixed: str, *, severity: Literal["error", "warning"]) -> Diagnostic:
    message = f"{quoted(text)} is plain text; a value is put in with {{{{ … }}}}"
    return Diagnostic(code="bad_template", severity=severity, pointer=pointer, message=message, patch=(replace(pointer, fixed),))


def templated(value: Json) -> bool:
    """Whether part of it is computed, so that nobody knows it yet."""
    if is_object(value):
        return any(templated(inner) for inner in value.values())
    if is_array(value):
        return any(templated(inner) for inner in value)
    return isinstance(value, str) and "{{" in value
