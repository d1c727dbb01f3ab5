"""Compiles a plan to LangGraph: one node per segment, one behind the other, and a `done` marker that must be there at the end."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (LangGraph leaves type parameters of its own open)
from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypedDict

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import interrupt

from graphs.engine.plan import BodyPlan, segments


class State(TypedDict, total=False):
    """What a checkpoint holds: how far the run has come. Outputs of steps are in the journal, once, and not here again."""

    at: dict[str, int]
    done: dict[str, bool]


class Driver(Protocol):
    """What a segment needs of the run it belongs to."""

    async def advance(self, allowed: frozenset[str]) -> list[dict[str, Any]] | None:
        """Runs the top-level steps `allowed` so far. None: all resolved; a list: everything left waits, and for what."""
        ...


Graph = CompiledStateGraph[State, Any, State, State]  # the context is a Driver


def compile_graph(body: BodyPlan, saver: BaseCheckpointSaver[int], *, fused: bool = True) -> Graph:
    """The graph of a workflow. Stateless: shared by all its runs."""
    builder: StateGraph[State, Any, State, State] = StateGraph(State)
    parts = segments(body, fused=fused)
    reached: set[str] = set()
    previous = START
    for number, part in enumerate(parts):
        reached |= set(part)
        name = f"s{number}"
        action: Any = _segment(number, frozenset(reached), last=number == len(parts) - 1)
        builder.add_node(name, action)
        builder.add_edge(previous, name)
        previous = name
    builder.add_edge(previous, END)
    return builder.compile(checkpointer=saver if len(parts) > 1 else None)  # of one segment there is nothing to keep but its steps


def _segment(number: int, allowed: frozenset[str], *, last: bool) -> Callable[[State, Runtime[Any]], Awaitable[State]]:
    async def segment(state: State, runtime: Runtime[Any]) -> State:
        driver: Driver = runtime.context
        if waiting := await driver.advance(allowed):
            interrupt({"waiting": waiting})
        return {"at": {"segment": number}, "done": {"v": True}} if last else {"at": {"segment": number}}

    return segment
