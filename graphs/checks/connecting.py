"""Connections that steps name: whether they are there and of a kind that fits; and secrets written where a connection belongs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from graphs.checks.diagnostic import Diagnostic, joined, replace
from graphs.checks.repairs import meant
from graphs.checks.view import NodeView, View
from graphs.definition import Json
from graphs.documents import is_object
from graphs.redaction import LOOKS_SECRET

CREDENTIALS = frozenset({"authorization", "x-api-key", "api-key", "apikey", "x-auth-token", "x-access-token", "cookie"})


def check_connecting(view: View, connections: Mapping[str, str] | None) -> Iterator[Diagnostic]:
    """Node by node. `connections`: name -> kind; None: not known."""
    for node in view.nodes:
        if node.kind is None:
            continue
        if node.kind.connects and connections is not None:
            yield from _check_name(node, node.kind.connects, connections)
        if node.type == "http":
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
    for field in ("url", "headers", "params"):
        given: Json = node.raw_config.get(field)
        for name, value in given.items() if is_object(given) else ((None, given),):
            if not isinstance(value, str) or not value or value.strip().startswith("{{"):
                continue
            if LOOKS_SECRET.search(value) or (field == "headers" and name and name.lower() in CREDENTIALS):
                pointer = joined(f"{node.pointer}/config/{field}", name) if name is not None else f"{node.pointer}/config/{field}"
                yield _written(pointer, f"the {field.removesuffix('s')} {name}" if name else "the url")


def _written(pointer: str, what: str) -> Diagnostic:
    message = (
        f"{what} holds a credential, written into the definition where everybody can read it; keep it in a connection "
        "(weft connections add <name> --kind http) and name that in `connection`"
    )
    return Diagnostic(code="secret_in_definition", severity="warning", pointer=pointer, message=message)
