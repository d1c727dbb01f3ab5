"""A step's surroundings without an engine: the real evaluator, HTTP client and models, and nothing that waits."""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from graphs.catalogue import node_types
from graphs.connections import Connection
from graphs.definition import Json
from graphs.expressions import Evaluator
from graphs.memories import Access
from graphs.models import Models, ModelSettings
from graphs.nodetype import Context, Failure, Resolution, Wait
from graphs.outbound import Outbound, Policy
from graphs.remote.calling import Bound
from graphs.voice.calls import Calls

T = TypeVar("T")


@dataclass(kw_only=True)
class FakeContext:
    outbound: Outbound
    models: Models
    evaluator: Evaluator | None = None
    scope: dict[str, Json] = field(default_factory=dict[str, Json])
    shown: list[str] = field(default_factory=list[str])
    seen: list[tuple[str, Json]] = field(default_factory=list[tuple[str, Json]])
    run_id: str = "run-1"
    mode: Literal["production", "test"] = "production"
    node_id: str = "step"
    position: str = "step"
    attempt: int = 1
    idempotency_key: str = "run-1/step"
    put_down: bool = False
    connections: dict[str, Connection] = field(default_factory=dict[str, Connection])

    @property
    def remote(self) -> Bound:
        raise AssertionError("this step calls no tools of others")

    async def connection(self, name: str, *, kind: str | Collection[str] | None = None) -> Connection:
        found = self.connections.get(name)
        if found is None:
            raise Failure("connection_missing", f"there is no connection {name!r}")
        return found

    async def memories(self) -> Access:
        raise AssertionError("this step remembers nothing")

    async def evaluate(self, expression: str, local: Mapping[str, Json] | None = None) -> Json:
        assert self.evaluator
        return await self.evaluator.evaluate(expression, {**self.scope, **(local or {})})

    async def decide(self, name: str, expression: str) -> Json:
        return await self.evaluate(expression)

    async def script(self, code: str, values: Mapping[str, Json] | None = None) -> Json:
        assert self.evaluator
        return await self.evaluator.script(code, {**self.scope, **(values or {})})

    async def body(self, key: str, *, index: int | None = None, local: Mapping[str, Json] | None = None) -> Json:
        raise AssertionError("this step has no body")

    def begun(self, key: str, *, index: int | None = None) -> bool:
        return False

    async def first(self, keys: Sequence[str]) -> tuple[str, Json]:
        raise AssertionError("this step has no body")

    async def undo(self, key: str, *, index: int | None = None) -> None:
        raise AssertionError("this step has no body")

    def known(self, name: str) -> Json:
        return None

    def keep(self, name: str, value: Json) -> None:
        raise AssertionError("this step has nothing to keep")

    async def step(self, key: str, node: Mapping[str, Json], **more: Any) -> Json:
        raise AssertionError("this step runs none of its own")

    async def approve(self, key: str, call: str, node: Mapping[str, Json], ask: Mapping[str, Json]) -> Json:
        raise AssertionError("this step asks nobody")

    @property
    def limits(self) -> Sequence[Mapping[str, Json]]:
        return ()

    async def profile(self, name: str) -> dict[str, Json]:
        raise AssertionError("this step is no agent")

    async def offered(self, kind: str, given: Mapping[str, Json]) -> list[dict[str, Json]]:
        raise AssertionError("this step is no agent")

    async def together(self, work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        raise AssertionError("this step runs none of its own")

    async def emit(self, name: str, *, correlation: str | None, payload: Json) -> None:
        self.shown.append(name)

    async def wait(self, wait: Wait, *, key: str = "") -> Resolution:
        raise AssertionError("this step does not wait")

    def live(self, name: str, data: Json) -> None:
        self.seen.append((name, data))

    async def open(self, wait: Wait, *, key: str = "") -> None:
        raise AssertionError("this step does not wait")

    async def first_wait(self, waits: Mapping[str, Wait]) -> tuple[str, Resolution]:
        raise AssertionError("this step does not wait")

    def withdraw(self) -> None:
        raise AssertionError("this step does not wait")

    def calls(self) -> Calls:
        raise AssertionError("this step calls nobody")

    async def progress(self, message: str, *, current: int | None = None, total: int | None = None) -> None:
        self.shown.append(message)

    async def house(self, tool: str, arguments: dict[str, Json]) -> Json:
        raise AssertionError("this step uses none of Weft's own tools")

    async def permit(self, key: str, node: Mapping[str, Json]) -> None:
        """Everything is permitted."""

    async def preview(self, node: Mapping[str, Json]) -> str:
        return ""


async def perform(kind: str, config: dict[str, Json], context: Context) -> Json:
    """Runs one step with a config whose templates are rendered already."""
    node = node_types()[kind]
    return await node.run(node.config.model_validate(config, context={"rendered": True}), context)


async def http(config: dict[str, Json], policy: Policy | None = None) -> Any:
    """One http step against loopback servers."""
    async with Outbound(policy or Policy(allow_nets=("127.0.0.0/8",))) as outbound:
        return await perform("http", config, FakeContext(outbound=outbound, models=Models(ModelSettings(), outbound)))


async def failing(config: dict[str, Json], policy: Policy | None = None) -> Failure:
    """The Failure of one http step."""
    try:
        output = await http(config, policy)
    except Failure as failure:
        return failure
    raise AssertionError(f"it did not fail but gave {output!r}")
