"""Agents: whether the profiles, workflows and connections that they name are there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from graphs.checks.diagnostic import Diagnostic, replace
from graphs.checks.known import Known
from graphs.checks.repairs import meant
from graphs.checks.view import View
from graphs.documents import is_array, is_object
from graphs.lending import EFFECTS

CONNECTED = {"mcp": "tools", "openapi": "operations"}


def check_agents(view: View, known: Known) -> Iterator[Diagnostic]:
    """Node by node."""
    for node in view.nodes:
        if node.type != "agent":
            continue
        config, pointer = node.raw_config, f"{node.pointer}/config"
        yield from _profile(config.get("profile"), f"{pointer}/profile", known.agents)
        tools = config.get("tools")
        for number, tool in enumerate(tools if is_array(tools) else ()):
            if is_object(tool):
                yield from _tool(tool, f"{pointer}/tools/{number}", known)


def _tool(tool: dict[str, Any], pointer: str, known: Known) -> Iterator[Diagnostic]:
    yield from _profile(tool.get("agent"), f"{pointer}/agent", known.agents)
    name = tool.get("workflow")
    if isinstance(name, str) and known.workflows is not None and name not in known.workflows:
        yield _unknown("unknown_workflow", f"{pointer}/workflow", "published workflow", name, known.workflows)
    house = tool.get("house")
    for number, each in enumerate(house if is_array(house) else ()):
        if isinstance(each, str) and each not in EFFECTS:
            yield _unknown("unknown_tool", f"{pointer}/house/{number}", "tool of Weft", each, EFFECTS)
    for kind, field in CONNECTED.items():
        yield from _connected(tool, kind, field, pointer, known)


def _connected(tool: dict[str, Any], kind: str, field: str, pointer: str, known: Known) -> Iterator[Diagnostic]:
    name = tool.get(kind)
    if isinstance(name, str) and known.connections is not None and name not in known.connections:  # it may be made before the run
        yield dataclasses.replace(
            _unknown("unknown_connection", f"{pointer}/{kind}", "connection", name, known.connections), severity="warning"
        )
    if not isinstance(name, str) or known.tools is None or name not in known.tools:
        return
    wanted = tool.get(field)
    for number, each in enumerate(wanted if is_array(wanted) else ()):
        if isinstance(each, str) and each not in known.tools[name]:
            yield _unknown("unknown_tool", f"{pointer}/{field}/{number}", f"approved tool of {name}", each, known.tools[name])


def _profile(wanted: Any, pointer: str, agents: Mapping[str, Any] | None) -> Iterator[Diagnostic]:
    if not isinstance(wanted, str) or agents is None:
        return
    name, _, version = wanted.partition("@")
    if name not in agents:
        yield _unknown("unknown_agent", pointer, "agent profile", name, agents)
    elif version.isdigit() and int(version) > agents[name]:
        newest = f"{name}@{agents[name]}"
        message = f"the agent profile {name!r} has no version {version}; the newest is {agents[name]}"
        yield Diagnostic(code="unknown_agent", pointer=pointer, message=message, suggestions=(newest,), patch=(replace(pointer, newest),))


def _unknown(code: str, pointer: str, what: str, name: str, known: Mapping[str, Any]) -> Diagnostic:
    close = meant(name, known)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(list(known)[:12]) or 'none yet'}"
    patch = (replace(pointer, close[0]),) if close else ()
    return Diagnostic(code=code, pointer=pointer, message=f"there is no {what} {name!r}; {hint}", suggestions=tuple(close), patch=patch)
