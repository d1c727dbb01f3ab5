"""What the operations stand on: the parts of a running house, and who acts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from graphs.connections import Connections
from graphs.definition import Json, Schema
from graphs.engine import Engine
from graphs.expressions import Evaluator
from graphs.models import Models
from graphs.nodetype import Effect
from graphs.outbound import Outbound
from graphs.pinning import Pins
from memory.embedding import Embedder
from store.postgres import Database, Tenant

if TYPE_CHECKING:  # the MCP SDK takes long to import
    from graphs.remote.calling import Remote


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    database: Database
    evaluator: Evaluator
    outbound: Outbound
    models: Models
    variables: Mapping[str, str]  # `env` of expressions: set by the operator, not secret
    engine: Engine
    pins: Pins = field(default_factory=Pins)
    connections: Connections | None = None  # None: this house has no key folder, and so no connections
    remote: Remote | None = None  # tools of other servers; None: where there are no connections
    embedder: Embedder | None = None  # None: memories are found by their words alone

    @property
    def public_url(self) -> str | None:
        """Where others reach this house, when it is not where its doors are asked."""
        return self.engine.public_url


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts, through which door. The tenant comes from the authenticated key and from nowhere else. `depth`: 0 is a person; 1 a run on
    behalf of one, 2 a run that such a run has started, and so on. `run_id`: that of the run that uses a tool."""

    tenant: Tenant
    user_id: str
    user_name: str
    role: str
    via: str  # "mcp", "http", "cli" or "chat"
    depth: int = 0
    run_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseTool:
    """One of Weft's own tools, as a model sees it."""

    name: str
    description: str
    schema: Schema
    effect: Effect


class House(Protocol):
    """Weft's own tools, lent to runs: with the rights that the user has at the moment of the call."""

    def specs(self, role: str) -> Sequence[HouseTool]:
        """The tools that a role may use, by name."""
        ...

    async def call(
        self,
        tenant: Tenant,
        user_id: str,
        run_id: str,
        tool: str,
        arguments: dict[str, Json],
        *,
        depth: int = 0,
        key: str | None = None,
        show: Callable[[str, Json], None] | None = None,
    ) -> Json:
        """What the tool answers its model. `depth` of the run that calls; `key` makes a repeated call one, where the tool can; `show`
        shows whoever watches something. Raises Failure with the tool's words."""
        ...
