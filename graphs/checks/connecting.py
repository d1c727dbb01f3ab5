"""Connections that steps name: whether they are there and of a kind that fits; and secrets written where a connection belongs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from graphs.checks.diagnostic import Diagnostic, joined, replace
from graphs.checks.repairs import meant
from graphs.checks.view import NodeView, View
from graphs.definition import Json
from graphs.documents import is_array, is_object
from graphs.redaction import LOOKS_SECRET

CREDENTIALS = frozenset(
    {"authorization", "proxyauthorization", "xapikey", "apikey", "apitoken", "xauthtoken", "authtoken", "xaccesstoken", "accesstoken"}
    | {"clientsecret", "password", "cookie"}
)
"""Names whose values are credentials, whatever they look like; without - and _."""
NAMING = re.compile(r"[-_ ]")
LITERAL = 3  # characters: what is shorter stands for something


def check_connecting(view: View, connections: Mapping[str, str] | None) -> Iterator[Diagnostic]:
    """Node by node. `connections`: name -> kind; None: not known."""
    for node in view.nodes:
        if node.kind is None:
            continue
        if node.kind.connects and connections is not None:
            yield from _check_name(node, node.kind.connects, connections)
        yield from _check_literals(node)


def _check_name(node: NodeView, wanted: frozenset[str], connections: Mapping[str, str]) -> Iterator[Diagnostic]:
    name, pointer = node.raw_config.get("connection"), f"{node.pointer}/config/connection"
    if not isinstance(name, str) or "{{" in name:
        return
    fitting = [other for other, kind in connections.items() if kind in wanted]
    kinds = " or ".join(sorted(wanted))
    if name not in connections:
        close = meant(name, fitting)
        hint = f"did you mean {close[0]!r}?" if close else f"make it before the run: weft connections add {name} --kind {sorted(wanted)[0]}"
        patch = (replace(pointer, close[0]),) if close else ()
        message = f"there is no connection {name!r} yet; {hint}"
        yield Diagnostic(
            code="unknown_connection", severity="warning", pointer=pointer, message=message, suggestions=tuple(close), patch=patch
        )
    elif connections[name] not in wanted:
        message = f"the connection {name!r} is of kind {connections[name]}; {node.type} needs {kinds}"
        yield Diagnostic(code="wrong_connection", pointer=pointer, message=message, expected=kinds, suggestions=tuple(fitting[:3]))


def _check_literals(node: NodeView) -> Iterator[Diagnostic]:
    """A credential in a definition is stored, shown to models and logged."""
    calls = node.kind is not None and bool(node.kind.connects)
    for field, given in node.raw_config.items():
        yield from _literals(given, f"{node.pointer}/config/{field}", field, field, named=calls and field != "connection")


def _literals(value: Json, pointer: str, field: str, name: str, *, named: bool) -> Iterator[Diagnostic]:
    if is_object(value):
        for key, inner in value.items() if not is_array(value.get("nodes")) else ():  # those of a body are looked at by themselves
            yield from _literals(inner, joined(pointer, key), field, key, named=named)
    elif is_array(value):
        for number, inner in enumerate(value):
            yield from _literals(inner, f"{pointer}/{number}", field, name, named=named)
    elif isinstance(value, str) and not value.strip().startswith("{{"):
        credential = named and len(value) > LITERAL and NAMING.sub("", name.lower()) in CREDENTIALS
        if credential or LOOKS_SECRET.search(value):
            yield _written(pointer, "the url" if field == "url" else f"{field}: {name}" if name != field else f"`{field}`")


def _written(pointer: str, what: str) -> Diagnostic:
    message = (
        f"{what} holds a credential, written into the definition where everybody can read it; have the user keep it in a connection "
        "(weft connections add <name> --kind http, or the page that test_workflow and publish_workflow lead to) and name that in "
        "`connection`; change a key that a chat has seen"
    )
    return Diagnostic(code="secret_in_definition", severity="warning", pointer=pointer, message=message)
